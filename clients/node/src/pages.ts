/**
 * Yields all pages of a list, from that of the request's `pageToken`:
 * `pages(client.embedder.listDocuments, { parent: "datasets/abstracts" })`.
 */
export async function* pages<Request extends { pageToken?: string }, Page extends { nextPageToken: string }>(
  list: (request: Request) => Promise<Page>,
  request: Request,
): AsyncGenerator<Page> {
  let pageToken = request.pageToken;
  do {
    const page = await list({ ...request, pageToken });
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken);
}
