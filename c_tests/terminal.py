#!/usr/bin/env python3
"""The tools on a terminal: python3 c_tests/terminal.py [FOLDER], in a built tree; FOLDER has other
builds of them.

The interactive mode of cllm_inference, colours, the progress line of train_model, Ctrl-C. The last
line is "N passed, N failed"; reasons on stderr.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from checks import check, finish

TREE = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TREE / "tools"
MARK = r"(?:\x1b\[1m)?>(?:\x1b\[0m)? "  # before each line that is typed
PATIENCE = 300  # seconds; the machine may be busy


class Terminal:
    """A program with a terminal as its standard streams, or some of them."""

    def __init__(self, *command, columns=80, canonical=True, environment=None, **streams):
        self.master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        attributes[1] &= ~termios.OPOST
        if not canonical:  # lines of any length
            attributes[3] &= ~termios.ICANON
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        self.process = subprocess.Popen(
            [str(TOOLS / command[0]), *map(str, command[1:])], start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # controls the session
            env={**kept, "TERM": "xterm", **(environment or {})},
            **{"stdin": slave, "stdout": slave, "stderr": slave, **streams})
        os.close(slave)
        self.unread = ""

    def send(self, text):
        data = text.encode()
        while data:
            data = data[os.write(self.master, data):]

    def read(self):
        """More output; false at its end."""
        if not select.select([self.master], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.unread += data.decode(errors="replace")
        return bool(data)

    def wait(self, pattern):
        """What was printed up to the pattern; None if it does not come."""
        while not (found := re.search(pattern, self.unread)):
            if not self.read():
                return None
        before = self.unread[:found.start()]
        self.unread = self.unread[found.end():]
        return before

    def ask(self, line):
        """The answer to a line, up to the next mark."""
        self.send(line + "\n")
        answer = self.wait(MARK)
        return None if answer is None else answer.rstrip("\n")

    def end(self):
        """The rest of the output, and the exit status (minus the signal)."""
        while self.read():
            pass
        status = self.process.wait(PATIENCE)
        os.close(self.master)
        return self.unread, status


def tool(*command, status=0, **options):
    ran = subprocess.run([str(TOOLS / command[0]), *map(str, command[1:])], capture_output=True,
                         text=True, **options)
    check(f"{command[0]}: status {ran.returncode}", ran.returncode == status, ran.stderr)
    return ran.stdout


def continuation(model, prompt, *options):
    """What follows the prompt when it is given on the command line."""
    printed = tool("cllm_inference", model, "-p", prompt, *options).rstrip("\n")
    check("the prompt comes first", printed.startswith(prompt), printed)
    return printed[len(prompt):].lstrip(" ")


def sessions(model):
    plain = {"NO_COLOR": "1"}
    greedy = ["-n", "12", "--greedy"]
    there = Terminal("cllm_inference", model, *greedy, environment=plain)
    check("greeting", "/help" in (there.wait(MARK) or ""))
    first = there.ask("w1 w4")
    check("an answer", first == continuation(model, "w1 w4", *greedy) and first, first)
    said = f"w1 w4 {first} w9"
    second = there.ask("w9")
    check("the history is part of the context", second == continuation(model, said, *greedy), second)
    third = there.ask("")
    check("an empty line goes on", third == continuation(model, f"{said} {second}", *greedy), third)
    check("/reset is silent", there.ask("/reset") == "")
    check("nothing to go on with", there.ask("") == "")
    check("/reset forgets", there.ask("  w1   w4 ") == first)
    for key in ("\x1b[A", "w9 \x1b[D\x1b[D", "\x1b[3~w9", "\x1bOH", "/seed\x1b[1;5C 9"):
        check(f"no text: {key!r}", "rlwrap" in (there.ask(key) or ""))
    check("unknown command", "'/bogus'" in there.ask("/bogus") )
    check("unknown command with a value", "/help" in there.ask("/bogus 5"))
    check("bad seed", "'five'" in there.ask("/seed five"))
    check("negative seed", "'-5'" in there.ask("/seed -5"))
    check("huge seed", "99999999999999999999" in there.ask("/seed 99999999999999999999"))
    check("bad temperature", "'hot'" in there.ask("/temp hot"))
    check("NaN", "'nan'" in there.ask("/temp nan"))
    check("temperature out of range", "'2.5'" in there.ask("/temp 2.5"))
    check("two values", "one value" in there.ask("/temp 1 2"))
    check("in full", "'2.5'" in there.ask("/temperature 2.5"))
    check("the temperature is still the old one", there.ask("/temp") == "temperature 0")
    shown = there.ask("/help")
    for command in ("/seed", "/temp", "/reset", "/help", "/quit"):
        check(f"/help names {command}", command in shown)
    there.ask("/reset"), there.ask("/temp 0.9"), there.ask("/seed 7")
    check("/seed", there.ask("/seed") == "seed 7")
    drawn = there.ask("w1 w4")
    wanted = continuation(model, "w1 w4", "-n", "12", "-t", "0.9", "-s", "7")
    check("/seed and /temp", drawn == wanted and drawn != first, (drawn, wanted))
    there.send("/quit\n")
    check("/quit", there.end() == ("", 0))

    there = Terminal("cllm_inference", model, *greedy, environment=plain)
    there.wait(MARK)
    there.send("\x04")
    check("end of input", there.end() == ("\n", 0))
    there = Terminal("cllm_inference", model, *greedy, environment=plain)
    there.wait(MARK)
    there.send("\x03")
    check("Ctrl-C at the mark", there.end()[1] == -signal.SIGINT)

    there = Terminal("cllm_inference", model, *greedy, environment=plain, canonical=False)
    there.wait(MARK)
    many = "w9 " * 300_000 + "w1 w4"
    answer = there.ask(many)
    check("a very long line", answer and set(answer.split()) <= {f"w{i}" for i in range(61)}, answer)
    check("a very long word", there.ask("x" * 1_000_000))
    check("NUL and control characters", there.ask("w1\0w4 \x01\x7f\xff"))
    there.send("/quit\n")
    check("after long lines", there.end()[1] == 0)


def colours(model):
    there = Terminal("cllm_inference", model, "-n", "3")
    there.wait(MARK)
    check("colours on a terminal", "\x1b[36m" in there.ask("w1"))
    there.send("/quit\n")
    there.end()
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        there = Terminal("cllm_inference", model, "-n", "3", environment=environment)
        there.wait(MARK)
        there.send("w1\n/help\n/quit\n")
        shown = there.end()[0]
        check(f"no colours with {environment}", "\x1b" not in shown and "w" in shown, shown)
    there = Terminal("cllm_inference", model, "-n", "3", stdout=subprocess.PIPE,
                     environment={"NO_COLOR": ""})
    there.wait(MARK)
    there.send("w1\n/quit\n")
    text = there.process.stdout.read().decode()
    check("no colours in a pipe, and only the text", re.fullmatch(r"(w\d+ ?)+\n", text), text)
    there.end()


def pipes(model):
    asked = ["cllm_inference", model, "-n", "5", "--greedy"]
    wanted = tool(*asked, "-p", "w1 w4")
    check("a prompt from a pipe", tool(*asked, input="w1 w4\n") == wanted)
    check("a prompt from a file", tool(*asked, stdin=open("prompt")) == wanted)
    check("an empty pipe: the most frequent word", re.match(r"w\d+ ", tool(*asked, input="")))
    check("no input at all", re.match(r"w\d+ ", tool(*asked, stdin=subprocess.DEVNULL)))
    reader, writer = os.pipe()
    os.close(reader)
    there = Terminal("cllm_inference", model, "-n", "5", stdout=writer)
    os.close(writer)
    there.wait(MARK)
    there.send("w1 w4\n")
    shown, status = there.end()
    check("a reader that leaves", status == 0 and "rror" not in shown and "can't" not in shown, shown)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            there = Terminal("cllm_inference", model, "-n", "5", stdout=full)
            there.wait(MARK)
            there.send("w1 w4\n")
            shown, status = there.end()
        check("a full disk", status == 1 and "standard output" in shown, shown)


def interrupted_text():
    """Words so long that a text does not fit into the terminal's buffer: it waits for its reader."""
    words = [f"{'long' * 60}{i}" for i in range(20)]
    Path("long").write_text(" ".join(words[i * i % 20] for i in range(600)))
    tool("train_model", "long", "--tokens", "words", "--embed-dim", "16", "--num-layers", "1", "--num-heads", "2",
         "--seq-len", "8", "--batch-size", "4", "--epochs", "1", "--quiet", "--checkpoint-dir", "l")
    there = Terminal("cllm_inference", "l/final_model.cllm", "-n", "400", environment={"NO_COLOR": "1"})
    there.wait(MARK)
    there.send(words[1] + "\n")
    while len(there.unread) < 2000 and there.read():
        pass
    there.send("\x03")
    answer = there.wait(MARK)
    check("Ctrl-C stops a text", answer is not None and 0 < len(answer.split()) < 390, answer)
    check("and only the text", there.ask("/temp") == "temperature 0.8")
    there.send("/quit\n")
    check("leaves as usual", there.end()[1] == 0)


def orders_to_the_terminal():
    """Words and names that would give a terminal orders: shown as '?' there, kept in pipes and files."""
    harmless = "plain", "\u0645\u06cc\u200c\u062e", "caf\u00e9", "\U0001f468\u200d\U0001f469"
    words = ["\x1b]0;title\x07x", "\u009b31mc1", *harmless, "\u202ertl", "\x1b[2j\x1b[31mred", "z\u200bw",
             "t\U000e0041g", "\x1b]8;;https://a.example/\x1b\\click", "\u2066iso", "b\ufeffom", "\x7fdel",
             "a\u200db"]
    Path("orders").write_text((" ".join(words) + "\n") * 60)
    sizes = ["--tokens", "words", "--embed-dim", "8", "--num-layers", "1", "--num-heads", "1", "--seq-len", "8", "--epochs", "4"]
    bad = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e"
                     "\u2060-\u206f\ufeff\U000e0000-\U000e0fff]|[a-z]\u200d")

    def shown(*command, status=0, contains=()):
        text, ended = Terminal(*command, environment={"NO_COLOR": "1"}).end()
        text = re.sub(r"\r\x1b\[K", "", text)  # the tools' own: the progress line
        check(f"{command[0]} on a terminal: status {ended}", ended == status, text)
        check(f"{command[0]} gives no orders", not bad.search(text), text)
        check(f"{command[0]} shows {contains}", all(part in text for part in contains), text)
        return text

    # The history before a sample of the text, and the samples.
    shown("train_model", "orders", *sizes, "--checkpoint-dir", "ord\x1b[31mers", contains=["ord?[31mers"])
    model = "ord\x1b[31mers/final_model.cllm"
    draw = ["-p", "plain " + words[0], "-n", "60", "-t", "2", "-k", "0", "--top-p", "1", "-s", "3"]
    clean = shown("cllm_inference", model, *draw, contains=["?]0;title?x"])
    raw = tool("cllm_inference", model, *draw)
    check("a pipe gets the words as they are", words[0] in raw and not bad.search(clean), raw)
    check("the same words", len(raw.split()) == len(clean.split()), (raw, clean))
    check("what is harmless stays", any(word in raw and word in clean for word in harmless), clean)
    shown("cllm_vocab_build", "orders", "-s", "-o", "v\x9b.txt", contains=harmless)
    check("a file has the words as they are", "\u202ertl\t" in Path("v\x9b.txt").read_text())
    shown("cllm_tokenize", "-s", "-f", "orders", contains=harmless)
    shown("cllm_tokenize", "-s", "--json", "-f", "orders", contains=["\\u001b", "\\u202e", "\\udb40\\udc41"])
    shown("cllm_info", model, contains=["?rtl", "?31mc1"])
    shown("cllm_info", "--json", model, contains=["\\u009b31mc1"])
    check("cllm_info, piped", not bad.search(tool("cllm_info", "ord\x1b[31mers/final_model.cllm").replace(model, "")))
    shown("cllm_inference", "no\x1b[5m\u202efile", status=1, contains=["no?[5m?file"])
    shown("cllm_info", "--no\x1bopt", status=2, contains=["--no?opt"])

    there = Terminal("cllm_inference", model, "-n", "40", "-s", "3", environment={"NO_COLOR": "1"})
    there.wait(MARK)
    answer = there.ask("plain red") or ""
    check("talking gives no orders", answer and not bad.search(answer), answer)
    answer = there.ask("/bo\u009bgus") or ""
    check("nor does an unknown command", "/bo?gus" in answer, answer)
    there.send("/quit\n")
    there.end()


def training():
    small = ["--tokens", "words", "--embed-dim", "16", "--num-layers", "2", "--num-heads", "2", "--seq-len", "8",
             "--batch-size", "4"]
    line = r"epoch 1/2  step \d+/\d+  loss \d+\.\d{4}  \d+ tokens/s  \d+:\d\d left"
    there = Terminal("train_model", "text", *small, "--epochs", "2", "--checkpoint-dir", "bar")
    shown, status = there.end()
    check("progress", status == 0 and re.search(r"\[=* *\] " + line, shown), shown)
    there = Terminal("train_model", "text", *small, "--epochs", "9", "--max-steps", "60",
                     "--checkpoint-dir", "bar")
    shown, status = there.end()
    check("progress to --max-steps", status == 0 and re.search(r"step \d+/60 ", shown), shown)
    there = Terminal("train_model", "text", *small, "--epochs", "2", "--checkpoint-dir", "bar", columns=40)
    shown, status = there.end()
    drawn = [part.split("\r")[0].split("\n")[0] for part in shown.split("\r\x1b[K")[1:]]
    lines = [part for part in drawn if "step" in part and "epoch" in part]
    check("progress in a narrow terminal", lines and max(map(len, lines)) <= 39, lines[:3])

    # Steps of some seconds, so that the second Ctrl-C comes within one.
    large = ["--tokens", "words", "--embed-dim", "512", "--num-layers", "8", "--num-heads", "8", "--seq-len", "64",
             "--batch-size", "22", "--epochs", "50", "--threads", "1"]
    for times in (1, 2):
        folder = Path(f"hit{times}")
        there = Terminal("train_model", "text", *large, "--checkpoint-dir", folder)
        there.wait("Step 6")
        time.sleep(0.3)
        there.send("\x03")
        check("Ctrl-C is answered", there.wait("finishing the step") is not None)
        if times == 2:
            there.send("\x03")
        shown, status = there.end()
        checkpoints = list(folder.glob("checkpoint_step_*.cllm"))
        if times == 1:
            check("Ctrl-C once: status 130", status == 130, (status, shown))
            named = re.search(r"--resume (\S+)", shown)
            check("how to resume", named and checkpoints == [Path(named[1])], (shown, checkpoints))
        else:
            check("Ctrl-C twice: stops at once", status == -signal.SIGINT, (status, shown))
            check("without a checkpoint", checkpoints == [], checkpoints)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("text").write_text(" ".join(f"w{i * i % 61}" for i in range(1500)))
        Path("prompt").write_text("w1 w4\n")
        tool("train_model", "text", "--tokens", "words", "--embed-dim", "16", "--num-layers", "2", "--num-heads", "2",
             "--seq-len", "8", "--batch-size", "4", "--epochs", "3", "--learning-rate", "0.01", "--quiet",
             "--checkpoint-dir", "run")
        model = "run/final_model.cllm"
        sessions(model)
        colours(model)
        pipes(model)
        interrupted_text()
        orders_to_the_terminal()
        training()
        os.chdir(TREE)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
