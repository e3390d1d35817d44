// A request of a page: loading, loaded, or failed. A response that a newer request has overtaken is dropped.
import { ApiError } from "./api";

export class Load<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  /** Whether something else than before was requested, so that the current data is about to be replaced. */
  busy = $state(false);
  #number = 0;
  #request: () => Promise<T> = () => Promise.reject(new Error("no request was made"));

  /** Sends a request; the current data stays until its response arrives. */
  async run(request: () => Promise<T>): Promise<void> {
    const number = ++this.#number;
    if (request !== this.#request) this.busy = true;
    this.#request = request;
    try {
      const data = await request();
      if (number !== this.#number) return;
      this.data = data;
      this.error = undefined;
    } catch (error) {
      if (number !== this.#number) return;
      this.error = asApiError(error);
    } finally {
      if (number === this.#number) this.busy = false;
    }
  }

  again = (): Promise<void> => this.run(this.#request);

  /** The number of the latest request: a response is current only if it is still the same. */
  protected get number(): number {
    return this.#number;
  }
}

interface Page {
  nextPageToken: string;
}

/** A list that grows page by page. `field` holds its items; `failed` is called when a further page cannot be loaded. */
export class PagedLoad<T extends Page> extends Load<T> {
  growing = $state(false);
  #page: (pageToken: string) => Promise<T> = () => Promise.reject(new Error("no request was made"));

  constructor(
    private readonly field: keyof T,
    private readonly failed: (error: unknown) => void,
  ) {
    super();
  }

  /** Loads the first page; `page` requests the page of a token. */
  async start(page: (pageToken: string) => Promise<T>): Promise<void> {
    this.#page = page;
    await this.run(() => page(""));
  }

  /** Appends the next page, unless the list was requested anew meanwhile. */
  more = async (): Promise<void> => {
    const current = this.data;
    const number = this.number;
    if (!current?.nextPageToken || this.growing || this.busy) return;
    this.growing = true;
    try {
      const next = await this.#page(current.nextPageToken);
      if (number === this.number) {
        const items = [...(current[this.field] as unknown[]), ...(next[this.field] as unknown[])];
        this.data = { ...next, [this.field]: items };
      }
    } catch (error) {
      if (number === this.number) this.failed(error);
    } finally {
      this.growing = false;
    }
  };
}

export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(String(error), 500, "PAGE");
}
