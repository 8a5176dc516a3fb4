//! `--metrics` and `norefs stats --watch`: what is told while a mount is served.

use mount_tests::posix::as_user;
use mount_tests::programs::is_installed;
use mount_tests::{Background, NOBODY, Scratch, is_mounted, norefs, refused, text, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// What is answered to a GET, without its head.
fn get(mut stream: impl Read + Write, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 OK").then(|| body.to_owned())
}

/// Where metrics of the mount at `path` are to be had.
fn address(path: &Path) -> String {
    let output = norefs()
        .args(["stats", "--json"])
        .arg(path)
        .output()
        .unwrap();
    let stats: Value = serde_json::from_slice(&output.stdout).expect("stats are JSON");
    stats["metrics"].as_str().expect("an address").to_owned()
}

/// Each figure by its name and labels.
fn figures(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    pairs.collect()
}

#[test]
fn metrics_are_what_stats_tells() {
    let mount = Background::new(&["--metrics", "127.0.0.1:0", "-o", "size=1m,nr_inodes=100"]);
    let at = address(&mount.mountpoint);
    for number in 0..7 {
        std::fs::create_dir(mount.mountpoint.join(format!("d{number}"))).unwrap();
    }
    std::fs::create_dir(mount.mountpoint.join("d0")).unwrap_err();
    std::fs::write(mount.mountpoint.join("file"), vec![1; 8192]).unwrap();
    let told = figures(&get(TcpStream::connect(&at).unwrap(), "/metrics").unwrap());
    let stats = mount.stats();
    let is = |name: &str, value: f64| assert_eq!(told.get(name), Some(&value), "{name}: {told:#?}");
    is("norefs_requests_total{kind=\"mkdir\"}", 7.0);
    is("norefs_request_duration_seconds_count{kind=\"mkdir\"}", 7.0);
    is(
        "norefs_request_duration_seconds_bucket{le=\"+Inf\",kind=\"mkdir\"}",
        7.0,
    );
    is("norefs_inodes", 9.0);
    is("norefs_inodes_limit", 100.0);
    is("norefs_content_bytes", 8192.0);
    is("norefs_content_bytes_limit", 1_048_576.0);
    is("norefs_read_only", 0.0);
    for (kind, figure) in stats["requests"].as_object().unwrap() {
        // Asking for stats asks the mount too.
        let least = told.get(&format!("norefs_requests_total{{kind=\"{kind}\"}}"));
        assert!(
            least.is_some_and(|&least| least <= figure["count"].as_f64().unwrap()),
            "{kind}"
        );
    }
    let about = told
        .keys()
        .find(|name| name.starts_with("norefs_mount_info"))
        .unwrap();
    let mountpoint = format!("mountpoint=\"{}\"", mount.mountpoint.display());
    assert!(about.contains(&mountpoint), "{about}");
    assert!(get(TcpStream::connect(&at).unwrap(), "/").is_none());
    mount.norefs("umount", &[]);
    assert!(wait_until(|| TcpStream::connect(&at).is_err()));
}

#[test]
fn metrics_of_a_socket_are_for_the_owner_alone_and_it_goes_with_the_mount() {
    let scratch = Scratch::new();
    let socket = scratch.join("metrics");
    let option = format!("unix:{}", socket.display());
    let script = "stat -c %a \"$1\"; echo ran";
    let output = norefs()
        .args([
            "run",
            "--no-report",
            "--metrics",
            &option,
            "--",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stdout),
        "600\nran\n",
        "{}",
        text(&output.stderr)
    );
    assert!(!socket.exists());

    let mount = Background::new(&["--metrics", &option]);
    assert_eq!(address(&mount.mountpoint), option);
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::set_permissions(&*scratch, std::fs::Permissions::from_mode(0o755)).unwrap();
    as_user(NOBODY, NOBODY, &[], || {
        UnixStream::connect(&socket).unwrap_err()
    });
    let told = get(UnixStream::connect(&socket).unwrap(), "/metrics").unwrap();
    assert_eq!(figures(&told)["norefs_inodes"], 1.0);
    let second = scratch.dir("second");
    let output = norefs()
        .args(["mount", "--metrics", &option])
        .arg(&second)
        .output()
        .unwrap();
    refused(&output);
    assert!(!is_mounted(&second), "{}", text(&output.stderr));
    drop(mount);
    assert!(wait_until(|| !socket.exists()));
}

#[test]
fn metrics_are_not_for_other_machines_unless_asked_for() {
    let scratch = Scratch::new();
    let place = scratch.dir("place");
    let attempt = |arguments: &[&str]| {
        let mut command = norefs();
        command
            .arg("mount")
            .args(arguments)
            .arg(&place)
            .output()
            .unwrap()
    };
    for arguments in [
        &["--metrics", "0.0.0.0:0"][..],
        &["--metrics", "[::]:0"],
        &["--metrics", "nowhere"],
        &["--metrics", "unix:"],
        &["--metrics", "unix:/nonexistent/socket"],
        &["--metrics-public"],
    ] {
        refused(&attempt(arguments));
        assert!(!is_mounted(&place), "{arguments:?}");
    }
    let output = attempt(&["--metrics", "0.0.0.0:0", "--metrics-public"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(address(&place).starts_with("0.0.0.0:"));
    assert!(
        norefs()
            .arg("umount")
            .arg(&place)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn who_asks_slowly_or_much_keeps_neither_the_mount_nor_others_waiting() {
    let mount = Background::new(&["--metrics", "127.0.0.1:0"]);
    let at = address(&mount.mountpoint);
    let slow: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&at).unwrap();
            stream.write_all(b"GET /metr").unwrap();
            stream
        })
        .collect();
    let before = mount.stats()["memory"].as_u64().unwrap();
    let mut much = TcpStream::connect(&at).unwrap();
    much.write_all(b"GET /metrics HTTP/1.1\r\nx: ").unwrap();
    let mebibyte = vec![b'x'; 1 << 20];
    let refused = (0..64).any(|_| much.write_all(&mebibyte).is_err());
    assert!(refused, "64 MiB of one header are taken");
    let after = mount.stats()["memory"].as_u64().unwrap();
    assert!(after < before + (32 << 20), "{before} {after}");
    assert!(get(TcpStream::connect(&at).unwrap(), "/metrics").is_some());
    std::fs::create_dir(mount.mountpoint.join("dir")).unwrap();
    drop(slow);
}

#[test]
fn watching_tells_what_comes_until_the_mount_is_gone() {
    let mount = Background::new(&[]);
    let watch = |json: &[&str]| {
        let mut command = norefs();
        command
            .args(["stats", "--watch=100ms"])
            .args(json)
            .arg(&mount.mountpoint);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut people = watch(&[]);
    let mut lines = BufReader::new(people.stdout.take().unwrap()).lines();
    let header = lines.next().unwrap().unwrap();
    assert!(header.trim_start().starts_with("requests/s"), "{header}");
    let mut made = 0;
    // Some line has what is made while it is waited for.
    let told = lines.by_ref().take(100).any(|line| {
        std::fs::create_dir(mount.mountpoint.join(format!("d{made}"))).unwrap();
        made += 1;
        let line = line.unwrap();
        line.split_whitespace().next().unwrap() != "0"
    });
    assert!(told, "{made} directories and none is told");
    let mut programs = watch(&["--json"]);
    let mut reader = BufReader::new(programs.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let stats: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(stats["mountpoint"], mount.mountpoint.to_str().unwrap());
    // Nobody reads any more.
    drop(reader);
    let ends = |child: &mut Child| {
        assert!(wait_until(|| child.try_wait().unwrap().is_some()));
        child.wait().unwrap().success()
    };
    assert!(ends(&mut programs));
    mount.norefs("umount", &[]);
    assert!(lines.all(|line| line.is_ok()));
    assert!(ends(&mut people));
}

/// A Prometheus that asks one mount. Dropping it ends it.
struct Prometheus {
    child: Child,
    at: String,
    _scratch: Scratch,
}

impl Prometheus {
    fn of(mount: &str) -> Prometheus {
        let scratch = Scratch::new();
        let config = format!(
            "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n\
             scrape_configs:\n  - job_name: norefs\n    static_configs:\n      - targets: ['{mount}']\n"
        );
        std::fs::write(scratch.join("prometheus.yml"), config).unwrap();
        // Free a moment ago; whoever takes it meanwhile is not Prometheus and answers no query.
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let log = std::fs::File::create(scratch.join("log")).unwrap();
        let mut command = std::process::Command::new("prometheus");
        command
            .arg(format!(
                "--config.file={}",
                scratch.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.join("data").display()
            ))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(log);
        Prometheus {
            child: command.spawn().unwrap(),
            at: free.to_string(),
            _scratch: scratch,
        }
    }

    /// The values of a query, each with its labels.
    fn query(&self, query: &str) -> Option<Vec<(Value, f64)>> {
        let escaped = query
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect::<String>();
        let stream = TcpStream::connect(&self.at).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        let answer = get(stream, &format!("/api/v1/query?query={escaped}"))?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let results = answer["data"]["result"].as_array()?.iter();
        let values = results.map(|result| {
            let value = result["value"][1].as_str()?.parse().ok()?;
            Some((result["metric"].clone(), value))
        });
        values.collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

#[test]
fn prometheus_finds_the_right_values_and_each_panel_of_the_dashboard_has_some() {
    if !is_installed("prometheus") {
        return;
    }
    let mount = Background::new(&["--metrics", "127.0.0.1:0"]);
    let prometheus = Prometheus::of(&address(&mount.mountpoint));
    for number in 0..25 {
        std::fs::create_dir(mount.mountpoint.join(number.to_string())).unwrap();
    }
    let settles = |query: &str, value: f64| {
        let mut seen = None;
        let settled = wait_until(|| {
            seen = prometheus.query(query);
            matches!(seen.as_deref(), Some([(_, found)]) if *found == value)
        });
        assert!(settled, "{query}: {seen:?}, not {value}");
    };
    settles("up{job=\"norefs\"}", 1.0);
    settles("norefs_requests_total{kind=\"mkdir\"}", 25.0);
    settles(
        "norefs_request_duration_seconds_count{kind=\"mkdir\"}",
        25.0,
    );
    settles("norefs_inodes", 26.0);
    let mountpoint = mount.mountpoint.display();
    settles(
        &format!("norefs_mount_info{{mountpoint=\"{mountpoint}\"}}"),
        1.0,
    );

    let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/grafana/norefs.json");
    let dashboard = std::fs::read_to_string(dashboard).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut made = 100;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$instance", ".*")
                .replace("$__rate_interval", "1m");
            let mut seen = None;
            let has_some = wait_until(|| {
                // A quantile of nothing is no number.
                std::fs::create_dir(mount.mountpoint.join(made.to_string())).unwrap();
                std::fs::metadata(mount.mountpoint.join(format!("missing{made}"))).unwrap_err();
                made += 1;
                seen = prometheus.query(&query);
                let values = seen.iter().flatten();
                values.filter(|(_, value)| value.is_finite()).count() > 0
            });
            assert!(has_some, "{}: {query}: {seen:?}", panel["title"]);
        }
    }
}
