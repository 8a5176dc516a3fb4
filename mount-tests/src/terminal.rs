//! An interactive shell on a terminal of its own.

use crate::wait_until;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a shell may need for a key.
const PRESSED: Duration = Duration::from_millis(300);

/// A shell with job control. Dropping it hangs up.
pub struct Terminal {
    keyboard: File,
    shown: Arc<Mutex<String>>,
    shell: Child,
}

impl Terminal {
    /// Starts one in `directory`.
    pub fn new(directory: &Path) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let screen = File::from(rustix::fs::open(&name, flags, Mode::empty()).unwrap());
        let shell = Command::new("setsid")
            .args(["--ctty", "bash", "--norc", "--noprofile", "-i"])
            .current_dir(directory)
            .env("PS1", "$ ")
            .env("TERM", "dumb")
            .stdin(screen.try_clone().unwrap())
            .stdout(screen.try_clone().unwrap())
            .stderr(screen)
            .spawn()
            .expect("setsid and bash are installed");
        let shown = Arc::new(Mutex::new(String::new()));
        let keyboard = File::from(keyboard);
        std::thread::spawn({
            let (mut screen, shown) = (keyboard.try_clone().unwrap(), shown.clone());
            move || {
                let mut bytes = [0; 1024];
                // An error is the end: the shell has gone.
                while let Ok(length @ 1..) = screen.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    shown.lock().unwrap().push_str(&text);
                }
            }
        });
        let terminal = Terminal {
            keyboard,
            shown,
            shell,
        };
        terminal.shows("$ ");
        terminal
    }

    /// Types `keys`, and forgets what was shown before.
    pub fn types(&mut self, keys: &str) {
        self.shown.lock().unwrap().clear();
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Types Ctrl-Z until the shell tells of a job that has stopped: a shell that is just starting one takes no notice.
    #[track_caller]
    pub fn stops(&mut self) {
        // The key throws away what was typed before it and not read yet.
        std::thread::sleep(PRESSED);
        self.types("");
        let stopped = wait_until(|| {
            self.keyboard.write_all(b"\x1a").unwrap();
            std::thread::sleep(PRESSED);
            self.shown.lock().unwrap().contains("Stopped")
        });
        assert!(stopped, "{:?}", self.shown.lock().unwrap());
    }

    /// Types Ctrl-C until the shell takes commands again.
    #[track_caller]
    pub fn interrupts(&mut self) {
        self.types("");
        let over = wait_until(|| {
            self.keyboard.write_all(b"\x03").unwrap();
            std::thread::sleep(PRESSED);
            self.shown.lock().unwrap().contains("$ ")
        });
        assert!(over, "{:?}", self.shown.lock().unwrap());
    }

    /// Waits until `text` is shown after what was typed last.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let seen = wait_until(|| self.shown.lock().unwrap().contains(text));
        assert!(seen, "{text:?} is not in {:?}", self.shown.lock().unwrap());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
