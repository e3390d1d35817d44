// The job that a page has started, or that others have started on what it shows: followed to its end.
import { post, type Job } from "./api";
import { app, isEnded } from "./app.svelte";

export class Followed {
  job = $state.raw<Job>();

  /** `belongs` says which running jobs are this page's; `ended` is called after each one's end. Call it in a page's set-up. */
  constructor(belongs: (job: Job) => boolean, private readonly ended: () => void) {
    $effect(() => {
      const job = app.running.find(belongs);
      if (job && job.name !== this.job?.name && !this.busy) void this.follow(job);
    });
  }

  get busy(): boolean {
    return !isEnded(this.job);
  }

  /** Starts a job by a POST, unless one is in progress, and follows it; `failed` shows why it was not started. */
  async start(path: string, body: unknown = {}, failed: (error: unknown) => void = (error) => app.fail(error)): Promise<void> {
    if (this.busy) return;
    let job: Job;
    try {
      job = await post<Job>(path, body);
    } catch (error) {
      failed(error);
      return;
    }
    await this.follow(job);
  }

  /** Follows a job that was started otherwise. */
  async follow(started: Job): Promise<void> {
    this.job = started;
    try {
      await app.follow(started, (job) => (this.job = job));
    } catch (error) {
      app.fail(error);
    }
    this.ended();
  }
}
