//! The page of `--html`.

use super::{all, empty, report, short};
use mount_tests::{Scratch, Tmpfs, norefs};
use scraper::{ElementRef, Html, Selector};

#[test]
fn bench_writes_a_page_with_every_row_that_needs_no_network() {
    let (scratch, tmpfs) = (Scratch::new(), Tmpfs::new());
    let file = scratch.join("page <b>.html");
    let mut command = short(norefs());
    command.args([
        "--json",
        "--workload",
        "find",
        "--operation",
        "open,cold-walk",
    ]);
    command.arg("--html").arg(&file).args([&*tmpfs, &*scratch]);
    let report = report(&command.output().unwrap());
    let page = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    empty(&scratch);
    let page = Html::parse_document(&page);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let select = |what: &str| {
        let selector = Selector::parse(what).unwrap();
        let found = page.select(&selector);
        let text = |element: ElementRef| element.text().collect::<String>();
        found.map(text).collect::<Vec<_>>()
    };

    let rows = select("tbody tr");
    let plots = select("svg").concat();
    let labels = all(&report, "label");
    assert_eq!(
        rows.len(),
        labels.len() - 1,
        "a command is one row, warm and cold: {rows:?}"
    );
    for row in report["rows"].as_array().unwrap() {
        let label = row["label"].as_str().unwrap();
        let load = match row["pinned"].as_bool().unwrap() {
            true => format!("{} pinned", row["clients"]),
            false => format!("{} free", row["clients"]),
        };
        let load = if label.starts_with("find") {
            String::new()
        } else {
            load
        };
        let time = row["figures"][1]["median_ns"].as_f64().unwrap();
        let time = if load.is_empty() {
            format!("{:.1}", time / 1e6)
        } else {
            format!("{time:.0}")
        };
        let shown =
            |text: &String| text.starts_with(&format!("{label}{load}")) && text.contains(&time);
        assert!(rows.iter().any(shown), "{label} {load} {time}: {rows:?}");
        assert!(plots.contains(label) && plots.contains(&load), "{plots}");
    }
    assert_eq!(
        select("figure svg").len(),
        4,
        "warm, cold, commands warm and cold"
    );
    assert!(
        plots.contains("time of one operation, logarithmic"),
        "{plots}"
    );

    let kernel = report["machine"]["kernel"].as_str().unwrap();
    assert!(select("#machine")[0].contains(kernel));
    assert_eq!(select("#date"), [report["date"].as_str().unwrap()]);
    assert_eq!(select("#version"), [report["version"].as_str().unwrap()]);
    assert!(select("#command")[0].contains("page <b>.html"));

    let fetched = "script, link, img, iframe, object, embed, image, use, [src], [href], [srcset]";
    assert_eq!(select(fetched), [""; 0]);
    let style = select("style").concat();
    assert!(
        !style.contains("url(") && !style.contains("@import"),
        "{style}"
    );
    assert!(style.contains("prefers-color-scheme: dark"), "{style}");
}
