"""What becomes of findings: excepted with a reason, or said with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from qualtrics_etl.deployment.scan import ScanException, explain_findings, explain_stale, judge, read_exceptions
from qualtrics_etl.deployment.scanners import Finding, ScanPlace
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

OPEN_TOPIC = Finding("checkov", "CKV_AWS_26", "terraform/topic.tf", 3, "The topic is not encrypted")
OTHER_TOPIC = Finding("checkov", "CKV_AWS_26", "terraform/other.tf", 7, "The topic is not encrypted")
REASON = "Nothing that is secret is ever published there."
SHAPE = "An exception is: scanner, rule, then `reason:` (a sentence) and, if it can, `where:` (a file)."


def excepting(where: str, rule: str = "CKV_AWS_26") -> ScanException:
    """Return an exception from a rule of checkov."""
    return ScanException("checkov", rule, where, REASON, 2)


def given(folder: Path, text: str) -> list[ScanException]:
    """Read a scan.yml."""
    (folder / "scan.yml").write_text(text)
    return read_exceptions(folder)


def test_finding_stays_without_exception() -> None:
    """What nobody excepted is to be mended, each finding once, in a steady order."""
    result = judge([OPEN_TOPIC, OTHER_TOPIC, OPEN_TOPIC], [])
    assert (result.findings, result.excepted, result.clean) == ((OTHER_TOPIC, OPEN_TOPIC), 0, False)


def test_exception_covers_its_own_place_only() -> None:
    """An exception for one file leaves the same finding in another file."""
    result = judge([OPEN_TOPIC, OTHER_TOPIC], [excepting("terraform/topic.tf")])
    assert (result.findings, result.stale, result.excepted) == ((OTHER_TOPIC,), (), 1)


def test_exception_without_place_covers_all() -> None:
    """An exception without a place covers its rule everywhere, and no other rule."""
    other_rule = Finding("checkov", "CKV_AWS_27", "terraform/topic.tf", 3, "x")
    result = judge([OPEN_TOPIC, OTHER_TOPIC, other_rule], [excepting("*")])
    assert (result.findings, result.excepted) == ((other_rule,), 2)


def test_exception_that_nothing_needs_is_an_error() -> None:
    """An exception whose finding is gone keeps the scan from being clean."""
    result = judge([OPEN_TOPIC], [excepting("terraform/topic.tf"), excepting("terraform/gone.tf")])
    assert (result.findings, result.stale, result.clean) == ((), (excepting("terraform/gone.tf"),), False)
    assert explain_stale(excepting("terraform/gone.tf")) == (
        "scan.yml:2: checkov no longer finds CKV_AWS_26 in terraform/gone.tf."
        " Delete the exception, so that it covers nothing new."
    )


def test_findings_say_how_to_except_them() -> None:
    """Findings of a rule are followed by what to write into scan.yml, ready to be pasted."""
    assert list(explain_findings([OPEN_TOPIC, OTHER_TOPIC])) == [
        "checkov CKV_AWS_26 terraform/other.tf:7: The topic is not encrypted",
        "checkov CKV_AWS_26 terraform/topic.tf:3: The topic is not encrypted",
        (
            "  Mend them, or say in scan.yml why not:\n"
            "    checkov:\n"
            "      CKV_AWS_26:\n"
            "        where: [terraform/other.tf, terraform/topic.tf]\n"
            "        reason: ..."
        ),
    ]


def test_exceptions_are_read_with_their_lines(tmp_path: Path) -> None:
    """Scanner, rule, places, reason and line are read; a list of places is an exception each."""
    text = f"checkov:\n  CKV_AWS_26:\n    where: [a.tf, b.tf]\n    reason: {REASON}\nzizmor:\n"
    assert given(tmp_path, text) == [excepting("a.tf"), excepting("b.tf")]


@pytest.mark.parametrize("text", ["", "# nothing\n", "checkov: {}\n"])
def test_file_without_exceptions_is_fine(tmp_path: Path, text: str) -> None:
    """Having nothing to except needs no special form."""
    assert given(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checkov:\n  X:\n    where: a.tf\n", "scan.yml:2: checkov.X has no reason, or one too short to be one."),
        ("checkov:\n  X:\n    reason: ok\n", "scan.yml:3: checkov.X has no reason, or one too short to be one."),
        (
            "checkov:\n  X:\n    reason: '            '\n",
            "scan.yml:3: checkov.X has no reason, or one too short to be one.",
        ),
        (
            f"checkov:\n  X:\n    reason: {REASON}\n    until: 2031\n",
            "scan.yml:4: checkov.X is wrong: Extra inputs are not permitted.",
        ),
        ("checkov: [X]\n", "scan.yml:1: checkov is wrong: Input should be a valid dictionary."),
        ("- checkov\n", "scan.yml:1: the file is wrong: Input should be a valid dictionary."),
    ],
)
def test_exception_without_reason_or_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What is no exception with a reason is refused, with its line and the right form."""
    with pytest.raises(ConfigurationError) as caught:
        given(tmp_path, text)
    assert str(caught.value) == f"{message} {SHAPE}"


def test_unknown_scanner_is_refused(tmp_path: Path) -> None:
    """An exception for a scanner that never runs would be believed to work."""
    with pytest.raises(ConfigurationError) as caught:
        given(tmp_path, f"chekov:\n  X:\n    reason: {REASON}\n")
    assert str(caught.value) == (
        "scan.yml:1: there is no scanner `chekov`."
        " Scanners are: checkov, cfn-lint, shellcheck, zizmor, actionlint, bandit."
    )


def test_scanner_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """A missing program says which one, and what installs it."""
    place = ScanPlace(tmp_path, tmp_path, tmp_path / "bin", {})
    with pytest.raises(ConfigurationError) as caught:
        place.run("bandit")
    assert str(caught.value) == (
        f"The scanner bandit is not installed: there is no {tmp_path}/bin/bandit."
        " Run `make scan`, which installs the scanners; QETL_SCAN_BIN names another folder."
    )


def test_scanner_that_fails_is_not_taken_for_clean(tmp_path: Path) -> None:
    """A scanner that ends with an exit code of its own troubles is an error, with what it said."""
    with pytest.raises(QualtricsEtlError) as caught:
        ScanPlace(tmp_path, tmp_path, Path("/bin"), {}).run("sh", "-c", "echo no rules found >&2; exit 3")
    assert str(caught.value) == "sh failed with exit code 3:\nno rules found"


def test_scanner_gets_nothing_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of whoever scans do not reach the scanners."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of somebody")
    output = ScanPlace(tmp_path, tmp_path, Path("/usr/bin"), {}).run("env")
    assert sorted(line.split("=")[0] for line in output.splitlines() if not line.startswith("_=")) == [
        "HOME",
        "LANG",
        "PATH",
    ]
