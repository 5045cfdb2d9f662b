//! Just enough of the frontend protocol of Postgres (version 3) to tell statements apart: frames, the units that are
//! answered by one "ready for query", what a unit says, and what an answer tells.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A message: its type, and all of its bytes, head included.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    bytes: Vec<u8>,
}

impl Frame {
    /// The next message; none at the end of the stream.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Self>> {
        let mut head = [0; 5];
        if from.read_exact(&mut head).await.is_err() {
            return Ok(None);
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length < 4 {
            bail!("a message of {length} bytes");
        }
        let mut bytes = vec![0; length + 1];
        bytes[..5].copy_from_slice(&head);
        if from.read_exact(&mut bytes[5..]).await.is_err() {
            return Ok(None);
        }
        Ok(Some(Self { kind: head[0], bytes }))
    }

    fn new(kind: u8, body: &[u8]) -> Self {
        let mut bytes = vec![kind];
        bytes.extend(((body.len() + 4) as u32).to_be_bytes());
        bytes.extend(body);
        Self { kind, bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What follows the head.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[5..]
    }

    /// The zero-terminated text that begins at `start` of the body, and where it ends.
    fn text(&self, start: usize) -> (String, usize) {
        let rest = self.body().get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        (
            String::from_utf8_lossy(&rest[..length]).into_owned(),
            start + length + 1,
        )
    }

    /// The first column of a row, of four or eight bytes.
    pub(crate) fn first_integer(&self) -> Option<i64> {
        let (length, value) = self.body().get(2..)?.split_at_checked(4)?;
        match u32::from_be_bytes(length.try_into().ok()?) {
            4 => Some(i32::from_be_bytes(value.get(..4)?.try_into().ok()?).into()),
            8 => Some(i64::from_be_bytes(value.get(..8)?.try_into().ok()?)),
            _ => None,
        }
    }
}

/// Statements by the names a connection has given them.
pub(crate) type Names = BTreeMap<String, String>;

/// The messages of a client that are answered together.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    frames: Vec<Frame>,
    /// The statement that is run; empty when none is.
    pub(crate) text: String,
    /// What it is run with.
    pub(crate) parameters: Vec<u8>,
    /// The client says goodbye.
    pub(crate) ends: bool,
}

impl Unit {
    /// The next unit of a client; none when it has gone.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin), names: &mut Names) -> Result<Option<Self>> {
        let mut unit = Self::default();
        let mut bound = None;
        loop {
            let Some(frame) = Frame::read(from).await? else {
                return Ok(None);
            };
            match frame.kind {
                b'P' => {
                    let (name, end) = frame.text(0);
                    names.insert(name, frame.text(end).0);
                }
                b'B' => {
                    let (_, end) = frame.text(0);
                    let (name, end) = frame.text(end);
                    bound = names.get(&name).cloned();
                    unit.parameters = frame.body()[end..].to_vec();
                }
                b'E' => unit.text = bound.clone().unwrap_or_default(),
                b'Q' => unit.text = frame.text(0).0,
                _ => {}
            }
            let kind = frame.kind;
            unit.frames.push(frame);
            unit.ends = kind == b'X';
            if matches!(kind, b'S' | b'Q' | b'c' | b'f' | b'X') {
                return Ok(Some(unit));
            }
        }
    }

    /// Whether it only asks for an answer, which is then what the server said last.
    pub(crate) fn is_ping(&self) -> bool {
        matches!(self.frames.as_slice(), [only] if only.kind == b'S')
    }

    /// What goes to the server, with each new statement as `rewrite` has it.
    pub(crate) fn bytes(&self, rewrite: impl Fn(&str) -> Option<String>) -> Vec<u8> {
        let mut all = Vec::new();
        for frame in &self.frames {
            let rewritten = (frame.kind == b'P').then(|| rewritten(frame, &rewrite)).flatten();
            all.extend(rewritten.as_ref().unwrap_or(frame).bytes());
        }
        all
    }
}

fn rewritten(parse: &Frame, rewrite: impl Fn(&str) -> Option<String>) -> Option<Frame> {
    let (name, start) = parse.text(0);
    let (text, end) = parse.text(start);
    let text = rewrite(&text)?;
    let mut body = name.into_bytes();
    body.push(0);
    body.extend(text.into_bytes());
    body.push(0);
    body.extend(&parse.body()[end..]);
    Some(Frame::new(b'P', &body))
}
