"""Passphrases come from a file, the environment, or a question; never empty, never unasked."""

import io

import pytest

from airgap.cli import passphrase
from airgap.errors import KeyFileError


@pytest.fixture
def terminal(monkeypatch):
    """Answers for the questions, in order; the questions that were asked."""
    answers, asked = [], []
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)

    def getpass(question, stream):
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.delenv(passphrase.VARIABLE, raising=False)
    return answers, asked


@pytest.mark.parametrize(
    ("content", "given"),
    [
        (b"a secret", b"a secret"),
        (b"a secret\n", b"a secret"),
        (b"a secret\r\n", b"a secret"),
        (b" with blanks \nand more", b" with blanks "),
        ("pässwörd\n".encode(), "pässwörd".encode()),
        (b"\xff\xfe as it is\n", b"\xff\xfe as it is"),
    ],
)
def test_from_a_file(tmp_path, terminal, content, given):
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    assert passphrase.chosen(path) == given
    assert passphrase.existing(path)() == given
    assert terminal[1] == []


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\nsecond line"])
def test_an_empty_file(tmp_path, content):
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="the passphrase is empty"):
        passphrase.chosen(path)


def test_no_file_and_folders(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(KeyFileError, match="cannot read the passphrase"):
            passphrase.existing(path)()


def test_a_file_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(passphrase.VARIABLE, "environment")
    (tmp_path / "passphrase").write_bytes(b"the file")
    assert passphrase.chosen(None) == b"environment"
    assert passphrase.chosen(tmp_path / "passphrase") == b"the file"


def test_questions(terminal):
    answers, asked = terminal
    answers += ["a secret", "a secret"]
    assert passphrase.chosen(None) == b"a secret"
    assert asked == ["New passphrase of the signing key: ", "Repeat the passphrase: "]
    answers.append("older")
    ask = passphrase.existing(None)
    assert len(asked) == 2  # not before it is needed
    assert ask() == b"older"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([""], "the passphrase is empty"),
        (["7 bytes"], "the passphrase is too short, want 8 bytes or more, got 7"),
        (["a secret", "b secret"], "the two passphrases differ"),
    ],
)
def test_answers_that_will_not_do(terminal, said, message):
    terminal[0].extend(said)
    with pytest.raises(KeyFileError, match=message):
        passphrase.chosen(None)


def test_no_terminal_to_ask(monkeypatch):
    monkeypatch.delenv(passphrase.VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("typed in advance\n"))
    for ask in (passphrase.existing(None), lambda: passphrase.chosen(None)):
        with pytest.raises(KeyFileError, match="no passphrase"):
            ask()


def test_an_empty_variable_is_none(terminal, monkeypatch):
    monkeypatch.setenv(passphrase.VARIABLE, "")
    terminal[0].append("asked")
    assert passphrase.existing(None)() == b"asked"


def test_an_older_key_may_have_a_short_one(terminal):
    terminal[0].append("short")
    assert passphrase.existing(None)() == b"short"
