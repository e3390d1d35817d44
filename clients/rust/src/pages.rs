//! Pages of lists.

use std::future::Future;

use tonic::{Response, Status};

use crate::{Error, retry};

/// A request for a page of a list.
pub trait PageRequest: Clone {
    /// Asks for the page with this token.
    fn set_page_token(&mut self, token: String);
}

/// A page of a list.
pub trait PageResponse {
    /// The token of the next page; empty on the last.
    fn next_page_token(&self) -> &str;
}

macro_rules! page_request {
    ($message:ty) => {
        impl PageRequest for $message {
            fn set_page_token(&mut self, token: String) {
                self.page_token = token;
            }
        }
    };
}

macro_rules! page_response {
    ($message:ty) => {
        impl PageResponse for $message {
            fn next_page_token(&self) -> &str {
                &self.next_page_token
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// All pages of a list, from that of the request's `page_token`.
pub struct Pages<Request, List> {
    next: Option<Request>,
    list: List,
}

impl<Request, Page, List, Call> Pages<Request, List>
where
    Request: PageRequest,
    Page: PageResponse,
    List: Fn(Request) -> Call,
    Call: Future<Output = Result<Response<Page>, Status>>,
{
    /// list: calls a method that lists, such as `|request| async { client.embedder().list_documents(request).await }`.
    pub fn new(request: Request, list: List) -> Self {
        Self { next: Some(request), list }
    }

    /// The next page; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        let Some(mut request) = self.next.take() else { return Ok(None) };
        let page = retry(|| (self.list)(request.clone())).await?;
        if !page.next_page_token().is_empty() {
            request.set_page_token(page.next_page_token().into());
            self.next = Some(request);
        }
        Ok(Some(page))
    }
}
