// What all pages share: datasets and runs, the ones that are chosen, theme, toasts, running jobs.
import { ApiError, all, get, save, send, type Dataset, type Download, type Job, type Run } from "./api";
import { idOf } from "./format";
import { asApiError } from "./load.svelte";
import { m } from "./messages";
import { router } from "./router.svelte";
import { ENDED, watchJob } from "./watch";

export interface Toast {
  id: number;
  text: string;
  kind: "done" | "failed";
  action?: { text: string; run: () => void };
}

const TOAST_MS = 10_000;

class App {
  datasets = $state.raw<Dataset[]>([]);
  runs = $state.raw<Run[]>([]);
  error = $state.raw<ApiError>();
  loaded = $state(false);
  jobs = $state.raw<Job[]>([]);
  toasts = $state<Toast[]>([]);
  theme = $state(localStorage.getItem("theme") ?? "system");
  signIn = $state(false);
  user = $state("");
  remembered = $state(localStorage.getItem("run") ?? "");
  #next = 0;
  #announced = new Set<string>();

  /** The run that the address names, or the last one that was looked at, or the newest trained one. */
  get run(): Run | undefined {
    const [kind, id] = router.segments;
    const named = kind === "runs" && id && id !== "new" ? `runs/${id}` : "";
    const find = (name: string) => this.runs.find((run) => run.name === name);
    const inAddress = find(named);
    if (inAddress) return inAddress;
    const dataset = this.#datasetInAddress();
    const able = this.runs.filter((run) => !dataset || run.dataset === dataset);
    return able.find((run) => run.name === this.remembered) ?? able.find((run) => run.state === "STATE_TRAINED") ?? able[0];
  }

  get dataset(): Dataset | undefined {
    const name = this.#datasetInAddress() || this.run?.dataset;
    return this.datasets.find((dataset) => dataset.name === name) ?? this.datasets[0];
  }

  #datasetInAddress(): string {
    const [kind, id] = router.segments;
    if (kind === "datasets" && id) return `datasets/${id}`;
    const requested = ["/runs", "/runs/new"].includes(router.path) && router.query.get("dataset");
    return requested ? `datasets/${requested}` : "";
  }

  remember(run: string): void {
    this.remembered = run;
    localStorage.setItem("run", run);
  }

  async refresh(): Promise<void> {
    try {
      const [datasets, runs] = await Promise.all([
        all<Dataset>("datasets", "datasets"),
        all<Run>("runs", "runs").catch((error) => {
          if (asApiError(error).isOutage) return this.runs;
          throw error;
        }),
      ]);
      this.datasets = datasets;
      this.runs = runs;
      this.error = undefined;
    } catch (error) {
      this.error = asApiError(error);
    }
    this.loaded = true;
  }

  async refreshJobs(): Promise<void> {
    try {
      this.jobs = (await get<{ jobs: Job[] }>("jobs", { pageSize: 50 })).jobs;
    } catch {
      return; // the status page says what is unreachable
    }
  }

  get running(): Job[] {
    return this.jobs.filter((job) => !ENDED.includes(job.state));
  }

  /** Follows a job to its end; says so when it has ended. Returns whether it ended well. */
  async follow(job: Job, changed?: (job: Job) => void, signal = new AbortController().signal): Promise<boolean> {
    void this.refreshJobs();
    let last = job;
    for await (const update of watchJob(job.name, signal)) {
      last = update;
      changed?.(update);
    }
    void this.refreshJobs();
    const good = last.state === "STATE_SUCCEEDED";
    const text = good ? m.jobs.ended(m.jobs.kind(last.kind)) : m.jobs.broke(m.jobs.kind(last.kind), last.error?.message ?? "");
    if (!this.#announced.has(last.name)) this.say(text, good ? "done" : "failed");
    this.#announced.add(last.name);
    return good;
  }

  say(text: string, kind: Toast["kind"] = "done", action?: Toast["action"]): void {
    const id = ++this.#next;
    this.toasts = [...this.toasts.slice(-2), { id, text, kind, ...(action ? { action } : {}) }];
    setTimeout(() => this.dismiss(id), TOAST_MS);
  }

  /** Downloads a file; tells what people should know of it, or why it did not arrive. */
  async download(path: string, request: Download): Promise<void> {
    try {
      const notices = await save(path, request);
      if (notices.length) this.say(notices.join(" "));
    } catch (error) {
      this.fail(error);
    }
  }

  async copy(text: string): Promise<void> {
    await navigator.clipboard.writeText(text);
    this.say(m.words.copied);
  }

  /** Deletes a dataset or a run, and goes to the list it was in. */
  async remove(name: string, list: string): Promise<void> {
    try {
      await send("DELETE", name);
      this.say(m.dataset.deleted(idOf(name)));
      router.go(list);
      await this.refresh();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.say(asApiError(error).message, "failed");
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  turn(): void {
    const dark = document.documentElement.dataset["theme"] === "dark";
    this.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", this.theme);
    this.showTheme();
  }

  showTheme(): void {
    const dark = this.theme === "dark" || (this.theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  }
}

export const app = new App();
export const isEnded = (job: Job | undefined): boolean => !job || ENDED.includes(job.state);
