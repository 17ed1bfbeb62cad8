//! Reads the sources and headers: every exported function is guarded, nothing
//! public is without documentation, and every exported function is called by a C harness.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Without failure paths: they hand out a static string, or the error itself.
const NOTHING_TO_GUARD: &[&str] = &[
    // Of a test build only.
    "cllm_fault_arm",
    "cllm_fault_disarm",
    "cllm_clear_error",
    "cllm_version",
    "cllm_last_error",
];

#[test]
fn every_exported_function_is_guarded() {
    let mut exported = 0;
    for path in files(&root().join("src/headers"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for item in text.split("#[unsafe(no_mangle)]\n").skip(1) {
            exported += 1;
            let name = item.split_once(" fn ").unwrap().1.split('(').next().unwrap();
            assert_ne!(
                item.starts_with("#[c_api"),
                NOTHING_TO_GUARD.contains(&name),
                "{}: {name}",
                path.display()
            );
        }
    }
    assert!(exported >= 250, "only {exported} exported functions found");
}

#[test]
fn the_headers_are_what_their_sources_say() {
    let include = root().join("include");
    let headers = files(&include, "h");
    assert!(headers.len() >= 22, "only {} headers found", headers.len());
    for path in headers {
        // build.rs has just made them from the sources.
        let made = Path::new(env!("OUT_DIR")).join(path.strip_prefix(&include).unwrap());
        let same = fs::read(&path).unwrap() == fs::read(made).unwrap();
        assert!(same, "{} is stale: make headers", path.display());
    }
}

#[test]
fn nothing_in_the_headers_is_undocumented() {
    let mut bad = Vec::new();
    let mut items = 0;
    for path in files(&root().join("include"), "h") {
        let text = fs::read_to_string(&path).unwrap();
        if text
            .lines()
            .any(|l| matches!(l.trim(), "* DOC" | "/* DOC */" | "/// DOC" | "/** DOC */"))
        {
            bad.push(format!("{}: a placeholder", path.display()));
        }
        let (mut documented, mut in_struct, mut in_comment, mut open) =
            (false, false, false, false);
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if in_comment || trimmed.starts_with("/*") {
                in_comment = !trimmed.ends_with("*/");
                documented = !in_comment && !trimmed.starts_with("/* Generated");
                continue;
            }
            if trimmed.is_empty() {
                continue;
            }
            let field = in_struct && !trimmed.starts_with(['}', '#']);
            let define = trimmed.starts_with("#define ") && !trimmed.ends_with("_H");
            let starts = line.starts_with(|c: char| c.is_ascii_alphabetic());
            let declares = starts && !trimmed.starts_with("extern \"C\"");
            if !open && (field || define || declares) {
                items += 1;
                if !documented {
                    bad.push(format!("{}:{}: {trimmed}", path.display(), number + 1));
                }
            }
            // A prototype may go on over several lines.
            open = (declares || field || open)
                && !(trimmed.ends_with(';') || trimmed.ends_with('{') || trimmed.ends_with('}'));
            if trimmed.starts_with("typedef struct") && trimmed.ends_with('{') {
                in_struct = true;
            }
            if trimmed.starts_with('}') {
                in_struct = false;
            }
            // An include guard around a define belongs to the define.
            if !trimmed.starts_with("#if") {
                documented = false;
            }
        }
    }
    assert!(bad.is_empty(), "{} items:\n{}", bad.len(), bad.join("\n"));
    assert!(items > 600, "only {items} items found");
}

#[test]
fn no_placeholder_is_left_in_the_sources() {
    let sources = ["src", "crates"].map(|folder| files(&root().join(folder), "rs"));
    for path in sources.concat() {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["/// DOC\n", "todo!(", "unimplemented!("] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn every_header_has_a_section_about_compatibility() {
    let page = fs::read_to_string(root().join("docs/COMPATIBILITY.md")).unwrap();
    let headings: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).collect();
    for path in files(&root().join("include"), "h") {
        let header = format!("{}`", path.file_name().unwrap().to_str().unwrap());
        assert!(headings.iter().any(|heading| heading.contains(&header)), "{header}");
    }
}

/// The functions that a generated header declares: a declaration begins its line.
fn declared_in(header: &str) -> Vec<String> {
    let begins = |line: &&str| {
        let first = line.chars().next();
        first.is_some_and(char::is_alphabetic) && !line.starts_with("typedef")
    };
    let declarations = header.lines().filter(begins).filter_map(|line| line.split_once('('));
    let names = declarations.filter_map(|(before, _)| before.rsplit([' ', '*']).next());
    names.map(str::to_string).collect()
}

fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && text[at + name.len()..].starts_with('(')
    })
}

#[test]
fn every_exported_function_has_a_harness() {
    let mut declared = BTreeSet::new();
    for path in files(&root().join("include"), "h") {
        declared.extend(declared_in(&fs::read_to_string(&path).unwrap()));
    }
    assert!(declared.len() >= 308, "only {} functions found", declared.len());

    let mut harnesses = String::new();
    for path in files(&root().join("c_tests"), "c") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // A declaration of the same name is not a call.
        if name.starts_with("test_") && name != "test_clashes.c" {
            harnesses += &fs::read_to_string(&path).unwrap();
        }
    }
    let missing: Vec<&String> = declared.iter().filter(|name| !calls(&harnesses, name)).collect();
    assert!(missing.is_empty(), "without a call in c_tests/: {missing:?}");
}
