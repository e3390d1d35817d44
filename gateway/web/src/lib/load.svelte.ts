// What a page asks for: loading, there, or failed. An answer that comes too late is dropped.
import { ApiError } from "./api";

export class Load<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  busy = $state(false);
  #number = 0;
  #again: () => Promise<T> = () => Promise.reject(new Error("nothing was asked for"));

  /** Asks; what is there stays until the answer comes. */
  async run(ask: () => Promise<T>): Promise<void> {
    const number = ++this.#number;
    this.#again = ask;
    this.busy = true;
    try {
      const data = await ask();
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

  again = (): Promise<void> => this.run(this.#again);
}

export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(String(error), 500, "PAGE");
}
