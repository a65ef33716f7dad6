//! The head of an HTTP request, as far as the statistics page needs it, and the head of an answer. No I/O.
//!
//! Only the path of the first line counts. Stock answers whatever is sent, so nothing here is an error: what is
//! not understood asks for stock's page. The rest of the head is only waited for, because closing a connection
//! before the client has sent it all may cost the client the answer.

/// The longest head that is kept, in bytes; one that is longer is answered by what its beginning says.
pub const MAX_HEAD: usize = 4096;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Stock's plain text.
    Stock,
    /// The same and more for Prometheus.
    Metrics,
    /// The running jobs.
    Jobs,
}

/// A request's head on its way in.
#[derive(Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// Nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next bytes; the page once the head is complete or as long as it may be. What follows the
    /// head is thrown away.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Page> {
        // The end may be spread over two reads.
        let from = self.bytes.len().saturating_sub(3);
        let room = MAX_HEAD - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let ended = self.bytes.len() == MAX_HEAD || ends(&self.bytes[from..]) || self.is_bare_line();
        ended.then(|| self.page())
    }

    /// What the bytes so far ask for.
    pub fn page(&self) -> Page {
        let line = self.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let path = line.split(u8::is_ascii_whitespace).nth(1).unwrap_or_default();
        match path.split(|byte| *byte == b'?').next().unwrap_or_default() {
            b"/metrics" => Page::Metrics,
            b"/jobs" => Page::Jobs,
            _ => Page::Stock,
        }
    }

    /// A line without a protocol version has no headers behind it (RFC 1945 section 4.1, Simple-Request).
    fn is_bare_line(&self) -> bool {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else { return false };
        !self.bytes[..end].windows(5).any(|window| window == b"HTTP/")
    }
}

/// Whether an empty line is in it; a bare LF counts as a line's end (RFC 9112 section 2.2).
fn ends(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|window| window == b"\n\n") || bytes.windows(3).any(|window| window == b"\n\r\n")
}

/// A whole answer.
pub fn answer(page: Page, body: &str) -> Vec<u8> {
    match page {
        // To the byte what stock sends: line ends without CR, no length.
        Page::Stock => {
            format!("HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close\n\n{body}").into_bytes()
        }
        Page::Metrics => with_length("text/plain; version=0.0.4; charset=utf-8", body),
        Page::Jobs => with_length("application/json", body),
    }
}

fn with_length(content_type: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(request: &[u8]) -> Option<Page> {
        Head::default().take(request)
    }

    #[test]
    fn only_two_paths_are_special() {
        for (request, page) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Page::Metrics),
            ("GET /metrics?a=b HTTP/1.0\n\n", Page::Metrics),
            ("GET /jobs HTTP/1.0\r\n\r\n", Page::Jobs),
            ("GET /jobs\r\n", Page::Jobs),
            ("GET / HTTP/1.0\r\n\r\n", Page::Stock),
            ("GET /metrics/x HTTP/1.0\r\n\r\n", Page::Stock),
            ("GET //jobs HTTP/1.0\r\n\r\n", Page::Stock),
            ("\r\n", Page::Stock),
            ("what is this\n", Page::Stock),
            ("GET /jobs HTTP/1.0\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n", Page::Jobs),
        ] {
            assert_eq!(ask(request.as_bytes()), Some(page), "{request:?}");
        }
    }

    #[test]
    fn splits_do_not_matter() {
        let request = b"GET /jobs HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        for at in 0..request.len() {
            let mut head = Head::default();
            assert_eq!(head.take(&request[..at]), None, "{at}");
            assert_eq!(head.take(&request[at..]), Some(Page::Jobs), "{at}");
        }
        let mut head = Head::default();
        let (last, first) = request.split_last().unwrap();
        assert!(first.iter().all(|byte| head.take(&[*byte]).is_none()));
        assert_eq!(head.take(&[*last]), Some(Page::Jobs));
    }

    #[test]
    fn the_head_is_bounded() {
        let mut head = Head::default();
        assert_eq!(head.take(b"GET /jobs HTTP/1.0\r\n"), None);
        let line = [b'x'; 100];
        let page = (0..).find_map(|_| head.take(&line));
        assert_eq!((page, head.bytes.len()), (Some(Page::Jobs), MAX_HEAD));
        assert_eq!(head.take(&line), Some(Page::Jobs));
        assert_eq!(head.bytes.len(), MAX_HEAD);
        assert_eq!(ask(&[0xff; 2 * MAX_HEAD]), Some(Page::Stock));
    }

    #[test]
    fn nothing_is_an_error() {
        // Every pair of bytes, some of which end a head.
        for first in 0..=255 {
            for second in 0..=255 {
                let mut head = Head::default();
                head.take(&[first, second]);
                assert_eq!(head.page(), Page::Stock);
            }
        }
    }

    #[test]
    fn stocks_answer_has_no_carriage_return() {
        let text = answer(Page::Stock, "argv /distccd\n");
        assert_eq!(text, b"HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close\n\nargv /distccd\n");
        let text = String::from_utf8(answer(Page::Jobs, "[]\n")).unwrap();
        assert!(text.contains("\r\nContent-Length: 3\r\n") && text.ends_with("\r\n\r\n[]\n"));
    }
}
