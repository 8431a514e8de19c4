"""Does what its first word says, which no program should: `misbehaves.py WORD PROBLEM ANSWER`, or WORD alone to serve."""

import os
import signal
import subprocess
import sys
import time


def sleeper(seconds):
    subprocess.Popen([sys.executable, "-I", "-S", "-c", f"import time; time.sleep({seconds})"])


def act(word, problem, answer):
    match word:
        case "segfaults":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "segfaults-in-a-shell":
            sys.exit(128 + signal.SIGSEGV)
        case "dies-of-a-signal-without-a-name":
            os.kill(os.getpid(), signal.SIGRTMIN + 3)
        case "exits":
            print("step 1")
            print("no such gate")
            sys.exit(3)
        case "refuses":
            print("only on Sundays")
            sys.exit(77)
        case "garbage":
            open(answer, "wb").write(b"not what was asked " * 9)
        case "empty":
            open(answer, "wb").close()
        case "folder":
            os.mkdir(answer)
        case "nothing":
            print("all is well")
        case "exchanges":
            open(problem, "ab").write(b"h_seq")
        case "astray":
            open("out.safetensors", "wb").write(b"h_seq")
        case "without-ending":
            open(answer.removesuffix(".safetensors"), "wb").write(b"h_seq")
        case "prints-megabytes":
            for _ in range(20_000):
                os.write(1, b"x" * 999 + b"\n")
            print("the last line")
            sys.exit(1)
        case "hangs":
            print("waiting", flush=True)
            sleeper(60)
            time.sleep(60)
        case "leaves-children":
            sleeper(60)
            sys.exit(1)


def serve(word):
    match word:
        case "banner":
            print("ready", flush=True)
        case "never-reads":
            time.sleep(60)
    for line in sys.stdin:
        problem, answer = line.rstrip("\n").split("\t")
        match word:
            case "ends":
                print("out of luck", file=sys.stderr)
                sys.exit(0)
            case "chatters":
                print("x" * 10_000_000)
            case "errs":
                print("error no such gate")
            case "errs-without-a-word":
                print("error")
            case "refuses":
                print("unsupported only on Sundays")
            case "flatters":
                print("ok")
            case "forgets-to-flush":
                open(answer, "wb").close()
                sys.stdout.write("ok\n")
                continue
            case "closes":
                os.close(1)
                time.sleep(60)
            case _:
                act(word, problem, answer)
        sys.stdout.flush()


if len(sys.argv) > 2:
    act(*sys.argv[1:])
else:
    serve(sys.argv[1])
