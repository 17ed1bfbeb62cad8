//! The C harnesses, `c_tests/test_*.c`: one test for each, compiled against `include/` by the C
//! compiler that `cc` finds and run with the shared library that cargo built for these tests.

use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let library = library()?;
    for entry in fs::read_dir(root().join("c_tests"))? {
        let source = entry?.path();
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("test_") && source.extension().is_some_and(|e| e == "c") {
            let library = library.clone();
            trials.push(Trial::test(name, move || harness(&source, &library)));
        }
    }
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that has the library under the names that the linker and the loader look for.
fn library() -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let built = test.parent().unwrap_or(Path::new(".")).join("libcllm.so");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("library");
    fs::create_dir_all(&folder)?;
    for name in ["libcllm.so", "libcllm.so.1"] {
        let link = folder.join(name);
        if fs::read_link(&link).ok().as_deref() != Some(&built) {
            let _ = fs::remove_file(&link);
            symlink(&built, &link)?;
        }
    }
    Ok(folder)
}

/// Builds a harness and runs it in the top folder; its last line is "N passed, N failed".
fn harness(source: &Path, library: &Path) -> Result<(), Failed> {
    let program = library.join(source.file_stem().unwrap_or_default());
    let compiler = cc::Build::new()
        .target(env!("CLLM_TARGET"))
        .host(env!("CLLM_TARGET"))
        .opt_level(0)
        .cargo_metadata(false)
        .try_get_compiler()?;
    let mut build = compiler.to_command();
    build.current_dir(root());
    build.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-Ic_tests"]);
    build.arg(source).arg("-o").arg(&program).arg("-L").arg(library);
    build.args(["-lcllm", "-lm", "-lpthread"]);
    said(&mut build)?;
    let output = said(Command::new(&program).current_dir(root()).env("LD_LIBRARY_PATH", library))?;
    let counts = output.lines().next_back().unwrap_or_default();
    if counts.ends_with(" passed, 0 failed") && !counts.starts_with('0') {
        Ok(())
    } else {
        Err(format!("it ends with {counts:?}").into())
    }
}

/// What a command that succeeds prints; else what it complained of.
fn said(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{complaint}", output.status).into())
}
