// The address is the state: path and query, kept by the History API.
import { flushSync } from "svelte";

const DEFAULT_TITLE = "PRISMA";

class Router {
  path = $state(location.pathname);
  query = $state(new URLSearchParams(location.search));
  fragment = $state(location.hash.slice(1));

  constructor() {
    window.addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (event) => this.#click(event));
  }

  /** The path's segments, decoded. */
  get segments(): string[] {
    return this.path.split("/").filter(Boolean).map(decodeURIComponent);
  }

  go(address: string, replace = false): void {
    const before = this.path;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.#read();
    if (this.path !== before) window.scrollTo(0, 0);
  }

  /** Changes some of the query; empty values leave it. */
  set(changes: Record<string, string | number | undefined>, replace = false): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined || value === "") query.delete(name);
      else query.set(name, String(value));
    }
    const text = query.toString();
    this.go(`${this.path}${text ? `?${text}` : ""}${location.hash}`, replace);
  }

  title(...parts: string[]): void {
    document.title = [...parts.filter(Boolean), DEFAULT_TITLE].join(" · ");
  }

  #read(): void {
    const before = this.path;
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
    this.fragment = location.hash.slice(1);
    if (this.path !== before) this.#focus();
  }

  /** Focuses the new page's main field while it is empty, else its heading, else the content until there is a heading. */
  #focus(): void {
    flushSync();
    const target = ["[data-main]:placeholder-shown:enabled", "h1", "#content"].map((selector) => document.querySelector<HTMLElement>(selector));
    target.find((element) => element)?.focus({ preventScroll: true });
  }

  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (/^\/(v1|docs|session)(\/|$)/.test(link.pathname) || link.getAttribute("href")?.startsWith("#")) return;
    event.preventDefault();
    this.go(link.pathname + link.search + link.hash);
  }
}

export const router = new Router();
