//! One connection, without its socket: bytes go in, requests and answers come out, and it says until
//! when it waits. Pure: no sockets, no clocks. What is HTTP and what is not, [`ServerConn`] decides;
//! here are the deadlines, and who is to do something next.

use std::{io::IoSlice, sync::Arc, time::Duration};

use http_net::{HttpDate, HttpError, Limits, Method, Response, ServerConn, ServerEvent};

use super::{
    message::{Reply, Request},
    query,
};

/// Longest request line, bytes: against lines without an end, which would fill the memory. An URI
/// call with a transaction of 32 KiB in hexadecimal digits fits; larger ones come as a body.
const MAX_LINE: usize = 64 << 10;

/// How long a connection may be silent between requests, and before the first one. Go's server waits
/// as long.
pub(crate) const IDLE: Duration = Duration::from_secs(10);

/// How long a whole request may take from its first byte to its last: against clients that send a
/// byte now and then. Tendermint's `ReadTimeout`.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);

/// How long a client may take to read an answer: against those that do not read. An address book of
/// 7 MB takes that long at 2 Mbit/s.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// How long what a client is still sending is read and thrown away once it got its last answer: if
/// there were unread bytes when the connection is closed, the system would reset it, and the client
/// might never see the answer.
pub(crate) const DRAIN: Duration = Duration::from_secs(1);

/// So much of an answer counts as one: a client that takes a byte now and then has got nothing.
const PIECE: usize = 64 << 10;

/// Most bytes that are thrown away so.
const MAX_DRAIN: usize = 256 << 10;

/// Who is to do what next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More bytes are wanted.
    Read,
    /// There is a request, or what can be none: see [`Session::asked`].
    Answer,
    /// There are bytes to write: see [`Session::output`].
    Write,
    /// Everything was written: the sending side is closed, and what comes is for nobody.
    Drain,
    /// It is over.
    Close,
}

/// One connection.
pub(crate) struct Session {
    limits: Limits,
    http: ServerConn,
    /// Read, and not yet given to `http`.
    input: Vec<u8>,
    /// So many bytes at its start have no end of a line: a line that comes byte by byte is looked at once.
    searched: usize,
    /// The client sends no more.
    is_at_end: bool,
    state: State,
    /// Bytes that `http` was given of this request.
    given: usize,
    /// Something has come since it was accepted, or since the last answer.
    has_begun: bool,
    path: String,
    query: Vec<u8>,
    body: Vec<u8>,
    output: Output,
    deadline: Duration,
    since: Duration,
}

#[derive(Clone, Copy)]
enum State {
    /// A request line is to come.
    Line,
    /// The rest of a request is to come.
    Message,
    /// A request is to be answered.
    Whole,
    /// What has come is none.
    Refused(HttpError),
    /// There will be no more answers; so many bytes were thrown away since.
    Over(usize),
}

/// What is to be written.
#[derive(Default)]
struct Output {
    head: Vec<u8>,
    body: Option<Reply>,
    written: usize,
}

impl Session {
    /// A connection that was accepted now. Bodies have at most so many bytes.
    pub(crate) fn new(max_body: usize, now: Duration) -> Self {
        let limits = Limits::new().with_max_start_line(MAX_LINE).with_max_body(max_body as u64);
        Self {
            limits,
            http: ServerConn::with_limits(limits),
            input: Vec::new(),
            searched: 0,
            is_at_end: false,
            has_begun: false,
            state: State::Line,
            given: 0,
            path: String::new(),
            query: Vec::new(),
            body: Vec::new(),
            output: Output::default(),
            deadline: now + IDLE,
            since: now,
        }
    }

    /// When to give up, whatever happens until then.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// When it was accepted, or last got an answer or a piece of one: who was longest without goes
    /// first where there is no room, and that is not who reads a long one.
    pub(crate) fn since(&self) -> Duration {
        self.since
    }

    /// About how many bytes of memory it has, and its part of a page that others have as well.
    pub(crate) fn held(&self) -> usize {
        let buffer = self.given.min(self.limits.buffer_capacity());
        let target = self.path.capacity() + self.query.capacity();
        self.input.capacity() + buffer + target + self.body.capacity() + self.output.held()
    }

    /// The client has sent something.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Duration) {
        if let State::Over(drained) = &mut self.state {
            *drained += bytes.len();
            self.is_at_end |= *drained > MAX_DRAIN;
            return;
        }
        // From its first byte on, whatever that is: empty lines before a request do not put it off.
        if matches!(self.state, State::Line) && !std::mem::replace(&mut self.has_begun, true) {
            self.deadline = now + REQUEST;
        }
        self.input.extend_from_slice(bytes);
    }

    /// The client sends no more; it may still read.
    pub(crate) fn end(&mut self) {
        self.is_at_end = true;
    }

    /// What is next.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            if !self.output.is_empty() {
                return Step::Write;
            }
            let is_moving = match self.state {
                State::Line => self.begin(),
                State::Message => self.go_on(),
                State::Whole | State::Refused(_) => return Step::Answer,
                State::Over(_) => return if self.is_at_end { Step::Close } else { Step::Drain },
            };
            if !is_moving && !self.is_at_end {
                return Step::Read;
            }
        }
    }

    /// Gives `http` the request line; false if it has not come yet.
    fn begin(&mut self) -> bool {
        // RFC 9112: empty lines before a request are passed over.
        let empty = self.input.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        self.input.drain(..empty);
        let searched = std::mem::replace(&mut self.searched, self.input.len());
        let end = match self.input[searched..].iter().position(|byte| *byte == b'\n') {
            Some(end) => searched + end + 1,
            // It says that this is too long.
            None if self.input.len() > MAX_LINE => self.input.len(),
            None => {
                if self.is_at_end {
                    self.state = State::Over(0);
                }
                return false;
            }
        };
        let line: Vec<u8> = self.input.drain(..end).collect();
        self.searched = 0;
        self.path.clear();
        let target = Target::of(&line).filter(|_| line.len() <= MAX_LINE);
        let replaced = target.map(|target| {
            self.path = target.decoded_path();
            self.query = target.query.to_vec();
            target.replaced
        });
        let line = replaced.unwrap_or(line);
        // There is room for a line that is as long as it may be.
        self.given = self.http.feed(&line);
        self.state = State::Message;
        true
    }

    /// Gives `http` what has come of a request; false if it needs more.
    fn go_on(&mut self) -> bool {
        let given = self.http.feed(&self.input);
        self.input.drain(..given);
        self.given += given;
        let error = match self.http.poll() {
            Ok(ServerEvent::Request(head)) => {
                if head.expects_continue() {
                    // Refused if the body is here already.
                    let _ = self.http.send_continue(&mut self.output.head);
                }
                return true;
            }
            Ok(ServerEvent::Body(bytes)) => {
                self.body.extend_from_slice(bytes);
                return true;
            }
            Ok(ServerEvent::RequestEnd) => {
                self.state = State::Whole;
                return true;
            }
            // One that takes nothing and wants more would be asked for ever.
            Ok(ServerEvent::NeedInput) if given > 0 || self.input.is_empty() => {
                if !self.input.is_empty() {
                    return true;
                }
                if self.is_at_end {
                    self.http.feed_eof();
                }
                return self.is_at_end;
            }
            Ok(_) => None,
            Err(error) => Some(error).filter(|error| error.status().is_some()),
        };
        match error {
            Some(error) => self.state = State::Refused(error),
            // Nobody waits for an answer.
            None => (self.state, self.is_at_end) = (State::Over(0), true),
        }
        true
    }

    /// The request that is to be answered, or why what has come is none.
    pub(crate) fn asked(&self) -> Result<Request<'_>, HttpError> {
        let head = match (self.state, self.http.request()) {
            (State::Refused(error), _) => return Err(error),
            (_, None) => return Err(HttpError::InvalidState("nobody has asked for anything")),
            (_, Some(head)) => head,
        };
        Ok(Request {
            method: head.method(),
            path: &self.path,
            query: &self.query,
            host: head.host().unwrap_or_default(),
            content_type: head.header_str("content-type").unwrap_or_default(),
            body: &self.body,
        })
    }

    /// The answer to it.
    pub(crate) fn answer(&mut self, reply: Reply, date: &HttpDate, now: Duration) {
        let has_body = self.http.request().is_none_or(|head| head.method() != Method::Head);
        let mut response = Response::new(reply.status)
            .header("content-type", reply.content_type)
            .content_length(reply.body.len() as u64);
        if let Some(allow) = reply.allow {
            response = response.header("allow", allow);
        }
        let mut head = Vec::new();
        if self.http.respond_with_date(&response, date, &mut head).is_err() {
            // A mistake of ours: without an answer nobody can go on.
            (self.state, self.is_at_end) = (State::Over(0), true);
            return;
        }
        let goes_on = self.http.keep_alive();
        // What came with the request is of the next one, whose line `http` is not to see as it is.
        let mut input = self.http.remaining_input().to_vec();
        input.append(&mut self.input);
        self.input = input;
        self.http = ServerConn::with_limits(self.limits);
        (self.given, self.body, self.query, self.path) = (0, Vec::new(), Vec::new(), String::new());
        self.output = Output { head, body: Some(reply).filter(|_| has_body), written: 0 };
        self.state = if goes_on { State::Line } else { State::Over(0) };
        self.deadline = now + ANSWER;
    }

    /// What is to be written, in two parts.
    pub(crate) fn output(&self) -> [IoSlice<'_>; 2] {
        let Output { head, body, written } = &self.output;
        let body = body.as_ref().map_or(&[][..], |reply| &reply.body);
        let of_head = (*written).min(head.len());
        [IoSlice::new(&head[of_head..]), IoSlice::new(&body[written - of_head..])]
    }

    /// So many bytes of it were written.
    pub(crate) fn written(&mut self, bytes: usize, now: Duration) {
        let before = self.output.written / PIECE;
        self.output.written += bytes;
        if self.output.written / PIECE > before {
            self.since = now;
        }
        if !self.output.is_empty() {
            return;
        }
        self.output = Output::default();
        if matches!(self.state, State::Line) {
            self.has_begun = !self.input.is_empty();
        }
        self.deadline = match self.state {
            State::Line if !self.has_begun => now + IDLE,
            State::Line => now + REQUEST,
            State::Over(_) => now + DRAIN,
            // Only "go on" was written.
            _ => return,
        };
        self.since = now;
    }
}

impl Output {
    fn is_empty(&self) -> bool {
        let body = self.body.as_ref().map_or(0, |reply| reply.body.len());
        self.written >= self.head.len() + body
    }

    fn held(&self) -> usize {
        let part = |body: &Arc<[u8]>| body.len().div_ceil(Arc::strong_count(body));
        self.head.capacity() + self.body.as_ref().map_or(0, |reply| part(&reply.body))
    }
}

/// What a request line asks for.
struct Target<'a> {
    path: &'a [u8],
    query: &'a [u8],
    /// The same line with `/` in its place. What stands there is looked at where it is used: RFC 3986
    /// forbids the quotes of `tx="abc"`, which everybody writes and Go takes, and `http-net` refuses
    /// the request for them.
    replaced: Vec<u8>,
}

impl<'a> Target<'a> {
    /// `None` for what is no such line or asks for something else.
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (method, target, rest) = (parts.next()?, parts.next()?, parts.next()?);
        if target.iter().any(u8::is_ascii_control) {
            return None;
        }
        let target = match target.get(..7) {
            // As to a proxy.
            Some(scheme) if scheme.eq_ignore_ascii_case(b"http://") => {
                let after = &target[7..];
                let end = after.iter().position(|byte| b"/?".contains(byte)).unwrap_or(after.len());
                &after[end..]
            }
            _ => target,
        };
        let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
        let (path, query) = (&target[..end], target.get(end + 1..).unwrap_or_default());
        let path = if path.is_empty() { b"/" } else { path };
        let is_path = path.first() == Some(&b'/');
        is_path.then(|| Self { path, query, replaced: [method, b" / ", rest].concat() })
    }

    /// As Go looks it up: `/%73tatus` is `/status`. One that is written wrongly names nothing.
    fn decoded_path(&self) -> String {
        let path = query::unescaped(self.path).unwrap_or_else(|_| self.path.to_vec());
        String::from_utf8_lossy(&path).into_owned()
    }
}
