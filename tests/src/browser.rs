//! Chromium without a window, told what to do over its debugging pipe: pages are opened, filled in and looked at as people do, and
//! what they ask of the network and say on the console is kept.
//!
//! Calls wait; a story makes them where others may go on (`tokio::task::block_in_place`).

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::tools;

/// A page on two busy cores takes its time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    answers: Receiver<Value>,
    /// What came while something else was waited for.
    events: VecDeque<Value>,
    session: String,
    next: u64,
    errors: Vec<String>,
    requests: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it; none, with a message, where there is no Chromium.
    ///
    /// # Errors
    /// If it does not do as told.
    pub fn start() -> Result<Option<Self>> {
        let Some(chromium) = tools::program("chromium") else {
            return Ok(None);
        };
        let profile = tempfile::tempdir()?;
        // The pipe is its descriptors 3 and 4, which a shell makes of the ends that there are.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .arg(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-pipe",
                "--window-size=1400,1000",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting chromium")?;
        let pipe = child.stdin.take().context("its input")?;
        let out = child.stdout.take().context("its output")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(out).split(0);
            while let Some(Ok(line)) = lines.next() {
                let Ok(message) = serde_json::from_slice(&line) else {
                    continue;
                };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            pipe,
            answers,
            events: VecDeque::new(),
            session: String::new(),
            next: 0,
            errors: Vec::new(),
            requests: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach)?;
        attached["sessionId"]
            .as_str()
            .context("a session")?
            .clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(Some(browser))
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.events.clear();
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("opening {url}: {error}");
        }
        self.wait_until_loaded()
    }

    /// Runs a script that leaves the page, such as one that sends a form, and waits until the next is loaded.
    pub fn leave_by(&mut self, script: &str) -> Result<()> {
        self.events.clear();
        self.run(script)?;
        self.wait_until_loaded()
    }

    /// What a script comes to; a promise's value, if it is one.
    pub fn run(&mut self, script: &str) -> Result<Value> {
        let wanted = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &wanted)?;
        if answer["exceptionDetails"].is_object() {
            bail!("{script}: {:#}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// The same as text.
    pub fn text(&mut self, script: &str) -> Result<String> {
        let value = self.run(script)?;
        Ok(value
            .as_str()
            .with_context(|| format!("{script} comes to {value}"))?
            .to_owned())
    }

    /// Takes the network away.
    pub fn go_offline(&mut self) -> Result<()> {
        let nothing = json!({ "offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0 });
        self.call("Network.emulateNetworkConditions", &nothing)?;
        Ok(())
    }

    /// What was written to the console as an error, thrown and not caught, or blocked, since it was last asked.
    pub fn errors(&mut self) -> Vec<String> {
        std::mem::take(&mut self.errors)
    }

    /// The addresses that were asked for since it was last asked; data in a page's own text is none.
    pub fn requests(&mut self) -> Vec<String> {
        std::mem::take(&mut self.requests)
    }

    fn wait_until_loaded(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["method"] == "Page.loadEventFired" {
                    return Ok(());
                }
            }
            let message = self.receive(end).context("waiting for a page to load")?;
            self.take(message);
        }
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.pipe.write_all(&bytes).context("telling chromium")?;
        self.pipe.flush()?;
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(end).with_context(|| format!("waiting for {method}"))?;
            if message["id"] == id {
                if message["error"].is_object() {
                    bail!("{method}: {:#}", message["error"]);
                }
                return Ok(message["result"].clone());
            }
            self.take(message);
        }
    }

    fn receive(&mut self, end: Instant) -> Result<Value> {
        match self.answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => bail!("chromium does not answer"),
            Err(RecvTimeoutError::Disconnected) => bail!("chromium has ended"),
        }
    }

    fn take(&mut self, event: Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.errors.push(parameters["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.errors.push(parameters["args"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.errors.push(parameters["entry"].to_string());
            }
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                if !url.starts_with("data:") {
                    self.requests.push(url.to_owned());
                }
            }
            _ => {}
        }
        self.events.push_back(event);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
