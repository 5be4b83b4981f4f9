"""The registry: versions that never change, one writer at a time, and what kills, faults and tampering leave."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from elboroom.operations import ledger as ledgers
from elboroom.operations import registry as registries
from elboroom.operations.version import place_of
from elboroom.ppl import files
from typer.testing import CliRunner

import elboroom as er
from elboroom.__main__ import app


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    return fitted.save(tmp_path_factory.mktemp("saved") / "posterior")


@pytest.fixture(scope="module")
def whole(fitted, tmp_path_factory):
    """A registry with a version as a user adds it, its report and all."""
    registry = er.Registry(tmp_path_factory.mktemp("whole"))
    registry.add(fitted, "risk", data={"y": np.arange(3.0)}, because="the first")
    return registry


@pytest.fixture
def quick(monkeypatch, saved):
    """What a version holds is a copy of a saved posterior: no report, and a verdict that tests choose."""

    def filled(draft, posterior, data, attached, verdict="trusted", fits_data=True):
        (draft / "posterior").mkdir()
        for path in saved.iterdir():
            files.put(draft / "posterior" / path.name, path.read_bytes())
        return {"verdict": verdict, "fits_data": fits_data, "data_fingerprint": "d", "created": ledgers.now()}

    def choose(**answers):
        monkeypatch.setattr(registries, "filled", lambda *given: filled(*given, **answers))

    choose()
    return choose


@pytest.fixture
def registry(tmp_path, quick, fitted):
    """One with three versions, of which the second is live."""
    made = er.Registry(tmp_path / "models")
    for because in ("one", "two", "three"):
        made.add(fitted, "risk", because=because)
    made.promote("risk", 1)
    made.promote("risk", 2)
    return made


OWN = "at", "time", "before"  # what each line has of its own


def refusal(call, *words):
    with pytest.raises(er.RegistryError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value
    return caught.value


# -- what a version holds --------------------------------------------------------------------------------


def test_a_version_holds_what_it_takes_to_know_it(whole, fitted):
    version = whole.get("risk", 1)
    assert (version.verdict, version.fits_data, version.because) == ("trusted", True, "the first")
    names = {path.name for path in version.folder.iterdir()}
    assert names >= {
        "posterior",
        "report.html",
        "report.json",
        "version.json",
        "lock.txt",
        "manifest.json",
        "schema.json",
        "runbooks",
    }
    again = version.load()
    checked = version.schema().check({"y": np.full(5, 3000.0)})
    assert checked.flagged.all() and "drift.md" in {
        path.name for path in (version.folder / "runbooks").iterdir()
    }
    assert again.summary().equals(fitted.summary())
    record = version.record
    assert record["data_fingerprint"] == version.data_fingerprint == fitted.data_fingerprint
    assert record["data"]["rows"] == 3 and record["data"]["columns"] == ["y"]
    assert f"numpy=={np.__version__}" in (version.folder / "lock.txt").read_text()


def test_versions_are_listed_from_the_log_alone(registry):
    shutil.rmtree(registry.place / "risk" / "versions")
    assert [v.number for v in registry.versions("risk")] == [1, 2, 3]
    assert registry.versions("risk").to_frame().loc[2, "aliases"] == "live"
    refusal(lambda: registry.get("risk", 2), "versions/000002", "copy")


def test_names_lead_to_versions(registry):
    assert registry.get("risk@live").number == registry.get("risk", "live").number == 2
    assert (
        registry.get("risk/3").number
        == registry.get("risk", "latest").number
        == registry.get("risk", "3").number
        == 3
    )
    refusal(lambda: registry.get("risk"), "Say which", "risk@live")
    refusal(lambda: registry.get("risk@live", 2), "'risk@live' and 2")
    refusal(lambda: registry.get("risk", 9), "[1, 2, 3, 'live', 'latest']", "got 9")
    refusal(lambda: registry.get("riks", 1), "it has risk")
    for bad in ("../risk", "", ".hidden", "a b", "x" * 101, "a/b", 7):
        refusal(lambda bad=bad: registry.add("x", bad), "name: expected at most 100 letters")


def test_lineage_follows_parents(registry, fitted):
    four = registry.add(fitted, "risk", parent="live", because="four")
    assert [v.number for v in registry.lineage("risk", four)] == [4, 2]
    refusal(lambda: registry.add(fitted, "risk", parent=17), "got 17")
    assert registry.get("risk", "latest").number == 4


# -- promotion -------------------------------------------------------------------------------------------


def test_what_is_untrusted_or_misfits_is_not_promoted_without_a_reason(registry, quick, fitted):
    for answers, words in (({"verdict": "untrusted"}, "untrusted"), ({"fits_data": False}, "a misfit")):
        quick(**answers)
        version = registry.add(fitted, "risk")
        refusal(lambda v=version: registry.promote("risk", v), f"one that is {words}", "because=")
        refusal(lambda v=version: registry.promote("risk", v, because="  "), words)
        assert registry.aliases("risk")["live"] == 2
        registry.promote("risk", version, alias="shadow", because="to compare")
        assert registry.log("risk").iloc[-1]["because"] == "to compare"


def test_rollback_goes_back_one_at_a_time(registry):
    registry.promote("risk", 3)
    assert registry.rollback("risk", because="errors").number == 2
    assert registry.rollback("risk").number == 1
    refusal(lambda: registry.rollback("risk"), "got 1 that it has named")
    registry.promote("risk", 3)
    assert registry.rollback("risk").number == 1


@pytest.mark.parametrize("alias", ["latest", "3"])
def test_what_names_a_version_already_is_no_alias(registry, alias):
    refusal(lambda: registry.promote("risk", 1, alias=alias), "Take another")


@pytest.mark.parametrize("name", ["con", "Nul", "com1.x", "risk.", "Risk"])
def test_names_that_some_system_takes_for_another_are_refused(registry, fitted, name):
    refusal(lambda: registry.add(fitted, name), "name: expected", repr(name))


def test_wrong_arguments_are_told(registry, fitted):
    other = registry.add(fitted, "other")
    for version in ([1], {}, 2.0, True, "9" * 5000, other):
        refusal(lambda v=version: registry.get("risk", v), "version of 'risk': expected one of")
    refusal(lambda: registry.add(fitted, "risk", parent=other), "version of 'risk'")
    for because in (None, 3, "\udc80"):
        refusal(lambda b=because: registry.add(fitted, "risk", because=b), "because: expected some text")
        refusal(lambda b=because: registry.promote("risk", 1, because=b), "because: expected some text")
        refusal(lambda b=because: registry.rollback("risk", because=b), "because: expected some text")
        refusal(lambda b=because: registry.withdraw("risk", 1, because=b), "because: expected some text")
    refusal(lambda: registry.add(fitted, "risk", tags="x"), "tags: expected a mapping")
    refusal(lambda: registry.sign("risk", 1, key="k"), "key: expected an er.Key")
    assert len(registry.log("risk")) == 6


def test_withdrawn_versions_are_gone_and_nothing_goes_back_to_them(registry):
    refusal(lambda: registry.withdraw("risk", 2, because="x"), "['live'] name")
    refusal(lambda: registry.withdraw("risk", 1), "a reason")
    registry.promote("risk", 3)
    registry.withdraw("risk", 2, because="personal data")
    assert not place_of(registry.place / "risk", 2).exists()
    refusal(lambda: registry.get("risk", 2), "withdrawn")
    assert registry.rollback("risk").number == 1
    assert registry.audit("risk")[0].verdict == "ok"


def test_nothing_goes_back_to_where_it_is(registry):
    registry.promote("risk", 1)
    registry.withdraw("risk", 2, because="personal data")
    refusal(lambda: registry.rollback("risk"), "got 1 that it has named")


def test_files_that_cannot_be_removed_are_told(registry, monkeypatch):
    registry.promote("risk", 3)
    monkeypatch.setattr(files, "remove", lambda path: None)
    refusal(lambda: registry.withdraw("risk", 2, because="personal data"), "could not be removed", "000002")
    assert ["remove it" in finding.advice for finding in registry.audit("risk")] == [True]


def test_tags(registry):
    registry.tag("risk", 1, stage="shadow", owner="ann")
    assert dict(registry.tag("risk", 1, owner=None).tags) == {"stage": "shadow"}
    words = registry.log("risk").query("what == 'tag'")["because"].tolist()
    assert words[-2:] == ["stage: shadow; owner: ann", "without owner"]
    refusal(lambda: registry.tag("risk", 1, note="x" * 1001), "at most 1000 characters")
    refusal(lambda: registry.tag("risk", 1, **{f"t{i}": "x" for i in range(51)}), "at most 50")


def test_attached_files_are_part_of_it(whole, fitted, tmp_path):
    scaling = {"mean": 3.0, "sd": 1.5}
    note = tmp_path / "note.md"
    note.write_text("by hand")
    version = whole.add(
        fitted, "attached", attached={"scaling.json": scaling, "docs/note.md": note, "raw": b"\x00\x01"}
    )
    assert json.loads((version.folder / "scaling.json").read_text()) == scaling
    assert "docs/note.md" in json.loads((version.folder / "manifest.json").read_text())["files"]
    for name in ("../out", "/etc/x", "posterior/x", "manifest.json", "C:x", "a\\b", "", "a\0", "\udc80", "nul.txt", "Report.HTML", "runbooks/x", "./a"):  # fmt: skip
        refusal(
            lambda name=name: whole.add(fitted, "attached", attached={name: b""}),
            "attached",
            "a relative path",
        )
    refusal(lambda: whole.add(fitted, "attached", attached={"f": lambda: 0}), "what JSON takes")
    refusal(lambda: whole.add(fitted, "attached", attached={"f": tmp_path / "absent"}), "FileNotFoundError")
    refusal(lambda: whole.add(fitted, "attached", attached={"a": b"", "A": b""}), "a name that is taken")
    refusal(lambda: whole.add(fitted, "attached", attached=["f"]), "attached: expected a mapping")
    refusal(lambda: whole.add(fitted, "attached", attached={"schema.json": {}}), "er.schema")
    refusal(lambda: whole.add(3, "attached"), "got int")
    own = er.schema({"y": np.arange(50.0)})
    own.save(tmp_path / "schema.json")
    version = whole.add(fitted, "attached", attached={"schema.json": tmp_path / "schema.json"})
    assert version.schema().num_rows == 50 != whole.get("risk", 1).schema().num_rows
    assert [v.number for v in whole.versions("attached")] == [1, 2]
    for data in ({"y": [[1, 2], [3]]}, pd.DataFrame([[1, 2]], columns=["a", "a"])):
        with pytest.raises(er.DataError, match="data: expected a data frame"):
            whole.add(fitted, "attached", data=data)


# -- what was changed is found ---------------------------------------------------------------------------


def test_one_flipped_bit_of_any_file_is_found(registry):
    folder = registry.get("risk", 2).folder
    assert registry.audit("risk")[0].verdict == "ok"
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        refusal(lambda: registry.get("risk@live"), "000002")
        refusal(lambda: registry.promote("risk", 2, alias="other"), "000002")
        assert {f.verdict for f in registry.audit("risk")} == {"untrusted"}
        path.write_bytes(content)
    assert registry.get("risk@live").number == 2


def test_other_files_links_and_swaps_are_found(registry, tmp_path):
    folder = registry.get("risk", 2).folder
    extra = folder / "posterior" / "extra.py"
    extra.write_text("import os")
    refusal(lambda: registry.get("risk", 2), "extra.py")
    extra.unlink()
    extra.symlink_to(tmp_path)
    refusal(lambda: registry.get("risk", 2), "a link")
    extra.unlink()
    gone = folder / "posterior" / "guide.safetensors"
    gone.rename(tmp_path / "gone")
    refusal(lambda: registry.get("risk", 2), "without", "guide.safetensors")
    (tmp_path / "gone").rename(gone)
    other = registry.get("risk", 3).folder
    folder.rename(tmp_path / "aside"), other.rename(folder), (tmp_path / "aside").rename(other)
    refusal(lambda: registry.get("risk", 2), "the manifest that the log names")


@pytest.mark.parametrize("change", ["edit", "drop", "swap", "insert", "end"])
def test_a_changed_log_is_found_and_nothing_is_read_by_it(registry, change):
    path = registry.place / "risk" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "edit":
        lines[2] = lines[2].replace(b'"two"', b'"too"')
    elif change == "drop":
        del lines[2]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "insert":
        lines.insert(2, lines[2])
    else:
        lines[-1] = lines[-1][:-1] + b"\x0b"
    path.write_bytes(b"".join(lines))
    refusal(lambda: registry.get("risk@live"), "log.jsonl", "as it was written")
    refusal(lambda: registry.promote("risk", 3), "log.jsonl")
    assert [f.verdict for f in registry.audit("risk")] == ["untrusted"]


def test_lines_that_were_cut_off_are_found_by_the_head_that_was_kept(registry):
    head = registry.head("risk")
    assert registry.audit("risk", head=head)[0].verdict == "ok"
    path = registry.place / "risk" / "log.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert registry.aliases("risk") == {"live": 1}  # which looks well
    assert [f.verdict for f in registry.audit("risk", head=head)] == ["untrusted"]


def test_a_log_written_anew_is_found_by_what_versions_say(registry):
    """Who can write the log can chain other lines, but not change what signed versions say of it."""
    forge(registry, lambda line: line | {"because": "forged"} if line["what"] == "add" else line)
    found = [f.advice for f in registry.audit("risk") if f.verdict == "untrusted"]
    assert len(found) == 3 and all("as the log has it" in words for words in found)


def test_the_log_of_another_model_is_refused(registry, fitted):
    registry.add(fitted, "other")
    shutil.copy(registry.place / "other" / "log.jsonl", registry.place / "risk" / "log.jsonl")
    refusal(lambda: registry.versions("risk"), "the log of 'risk'", "that of 'other'")


def test_a_clock_that_goes_back_costs_no_order(registry, fitted, monkeypatch):
    monkeypatch.setattr(ledgers, "now", lambda: "2001-01-01T00:00:00.000000+00:00")
    four = registry.add(fitted, "risk")
    registry.promote("risk", four)
    assert registry.versions("risk")[-1].number == 4 and registry.rollback("risk").number == 2
    assert [(f.name, f.verdict) for f in registry.audit("risk")] == [("clock", "caution")]


def forge(registry, changed):
    """Write the log of "risk" anew, with a chain that holds."""
    path = registry.place / "risk" / "log.jsonl"
    lines = ledgers.Ledger(path).lines()
    path.unlink()
    for line in lines:
        ledgers.Ledger(path).append(**changed({k: v for k, v in line.items() if k not in OWN}))


def test_what_the_log_says_of_a_version_is_what_its_files_say(tmp_path, quick, fitted):
    """Who can write the log cannot have something untrusted promoted, or given out as trusted."""
    quick(verdict="untrusted")
    key = er.Key.new()
    registry = er.Registry(tmp_path / "models", key=key, trust=er.Trust.of(key))
    registry.add(fitted, "risk")
    forge(registry, lambda line: line | {"verdict": "trusted"} if line["what"] == "add" else line)
    refusal(lambda: registry.promote("risk", 1), "as the log has it")
    refusal(lambda: registry.get("risk", 1), "as the log has it")


@pytest.mark.parametrize(
    "change",
    [{"verdict": None}, {"version": "../x"}, {"version": [1]}, {"parent": [1]}, {"what": None}, {"what": "rollback", "alias": "x"}],
)  # fmt: skip
def test_lines_that_nobody_of_ours_wrote_are_refused(registry, change):
    def changed(line):
        if (line["what"], line.get("version")) != ("add", 3):
            return line
        return {k: v for k, v in (line | change).items() if k not in change or v is not None}

    forge(registry, changed)
    refusal(lambda: registry.versions("risk"), "line 4 of its log")
    assert [f.verdict for f in registry.audit("risk")] == ["untrusted"]


def test_parents_that_go_round_end(registry):
    forge(registry, lambda line: line | {"parent": 4 - line["version"]} if line["what"] == "add" else line)
    assert [v.number for v in registry.lineage("risk", 3)] == [3, 1]


def test_whatever_is_read_of_a_version_is_what_was_added(registry):
    """Also of a version that nobody has looked at, and what was changed since somebody did."""
    for version in (registry.get("risk", 2), registry.versions("risk")[1]):
        record = version.folder / "version.json"
        content = record.read_bytes()
        assert version.record["number"] == 2 and version.load().verdict == "trusted"
        record.write_bytes(content.replace(b"trusted", b"TRUSTED"))
        refusal(lambda v=version: v.record, "'version.json' as it was")
        record.write_bytes(content)
        guide = version.folder / "posterior" / "guide.safetensors"
        kept = guide.read_bytes()
        guide.write_bytes(kept + b"x")
        refusal(version.load, "guide.safetensors")
        guide.write_bytes(kept)


def test_no_room_for_a_private_copy_is_told(registry, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/absent")
    refusal(registry.versions("risk")[0].load, "a private copy", "TMPDIR")


# -- kills, faults, and writers at once ------------------------------------------------------------------

CALLS = ("replace", "rename", "write", "fsync", "mkdir", "ftruncate", "open")


def killed_at(number, work):
    """Run in a process of its own that ends, as by kill -9, at its so-manieth call of the system; whether it came so far."""
    child = os.fork()
    if child == 0:
        left = number

        def counted(function):
            def call(*args, **kwargs):
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(9)
                return function(*args, **kwargs)

            return call

        try:
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.slow
@pytest.mark.parametrize("what", ["add", "promote"])
def test_a_kill_at_any_write_leaves_the_state_before_or_the_one_after(registry, fitted, what):
    work = {"add": lambda: registry.add(fitted, "risk"), "promote": lambda: registry.promote("risk", 3)}[what]
    moments = 0
    while killed_at(moments + 1, work):
        moments += 1
        versions = [v.number for v in registry.versions("risk")]
        assert versions in ([1, 2, 3], [*range(1, 4), versions[-1]]), versions
        assert registry.aliases("risk")["live"] in (2, 3)
        for number in versions:
            registry.get("risk", number)
        assert all(f.verdict != "untrusted" for f in registry.audit("risk"))
        if versions[3:]:
            registry.withdraw("risk", versions[-1], because="again")
        elif what == "promote" and registry.aliases("risk")["live"] == 3:
            registry.rollback("risk")
    assert moments > (20 if what == "add" else 3)
    work()
    assert not [p for p in (registry.place / "risk" / ".incoming").iterdir()]


def test_a_line_that_was_not_written_to_its_end_is_none(registry, fitted):
    path = registry.place / "risk" / "log.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":7,"time":"20')
    assert registry.aliases("risk") == {"live": 2}
    registry.promote("risk", 3)
    assert registry.aliases("risk") == {"live": 3} and path.read_bytes().startswith(whole + b'{"at":7,')
    path.write_bytes(path.read_bytes()[:-1])  # all of it but its end
    assert registry.aliases("risk") == {"live": 2}
    registry.promote("risk", 1)
    assert registry.audit("risk")[0].verdict == "ok"


@pytest.mark.parametrize("room", [200, 3000, 20_000])
def test_a_full_disk_costs_nothing_that_was_there(registry, fitted, room):
    """Files may not grow beyond some bytes: the add ends with an error, and all is as it was."""
    before = sorted(path for path in registry.place.rglob("*"))
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            registry.add(fitted, "risk")
        except er.RegistryError as error:
            os._exit(0 if "Make room" in str(error) else 3)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(path for path in registry.place.rglob("*")) == before
    assert registry.audit("risk")[0].verdict == "ok" and registry.add(fitted, "risk").number == 4


def test_a_place_that_cannot_be_written_is_named(tmp_path, fitted, quick):
    (tmp_path / "file").write_text("")
    refusal(
        lambda: er.Registry(tmp_path / "file").add(fitted, "risk"),
        "model 'risk'",
        "a place that can be written",
    )


WRITER = """
import sys
from pathlib import Path
import shutil
import elboroom as er
from elboroom.operations import registry as registries

def filled(draft, posterior, data, attached):
    shutil.copytree(sys.argv[2], draft / "posterior")
    return {"verdict": "trusted", "fits_data": True, "data_fingerprint": "d"}

registries.filled = filled
registry, posterior = er.Registry(sys.argv[1]), er.load(sys.argv[2])
for turn in range(5):
    version = registry.add(posterior, "risk", because=sys.argv[3])
    registry.promote("risk", version)
    registry.tag("risk", version, turn=turn)
"""


def test_two_processes_push_at_once(tmp_path, saved):
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "models"), str(saved)]
    writers = [subprocess.Popen([*arguments, name]) for name in ("ann", "bob")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    registry = er.Registry(tmp_path / "models")
    versions = registry.versions("risk")
    assert [v.number for v in versions] == list(range(1, 11))
    assert sorted(v.because for v in versions) == ["ann"] * 5 + ["bob"] * 5
    assert [f.verdict for f in registry.audit("risk")] == ["ok"]
    assert len(registry.log("risk")) == 1 + 3 * 10 and len(registry.aliases("risk")) == 1


def test_a_lock_ends_with_its_block_whoever_was_forked_meanwhile(tmp_path):
    with files.alone(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        begin = time.perf_counter()
        with files.alone(tmp_path / "lock"):
            assert time.perf_counter() - begin < 10
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_readers_see_the_alias_before_or_after(registry):
    """While one process moves it to and fro."""
    child = os.fork()
    if child == 0:
        try:
            for turn in range(60):
                registry.promote("risk", 1 + turn % 3)
        finally:
            os._exit(0)
    seen = set()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        seen.add(registry.aliases("risk")["live"])
    assert seen <= {1, 2, 3} and registry.audit("risk")[0].verdict == "ok"


def test_a_thousand_versions_are_listed(tmp_path, registry):
    path = registry.place / "risk" / "log.jsonl"
    pattern = ledgers.Ledger(path).lines()[1]
    text = path.read_bytes()
    at, before = len(text.splitlines()), ledgers.Ledger(path).head
    for number in range(4, 1001):
        at += 1
        line = {**pattern, "at": at, "before": before, "version": number}
        row = json.dumps(line, separators=(",", ":")).encode()
        before, text = ledgers.hashlib.sha256(row).hexdigest(), text + row + b"\n"
    path.write_bytes(text)
    frame = registry.versions("risk").to_frame()
    assert len(frame) == 1000 and frame.index[-1] == 1000


def test_folders_that_the_log_does_not_know_are_told_and_their_numbers_left(registry, fitted):
    stranger = place_of(registry.place / "risk", 4)
    shutil.copytree(place_of(registry.place / "risk", 3), stranger)
    refusal(lambda: registry.get("risk", 4), "got 4")
    assert [f.verdict for f in registry.audit("risk")] == ["caution"]
    assert registry.add(fitted, "risk").number == 5 and Path(stranger).is_dir()


def test_the_command_line(fitted, tmp_path, monkeypatch):
    """From a fit's folder to what is live, signed and back."""
    monkeypatch.setenv("ELBOROOM_KEY_PASSWORD", "opens")
    key = er.Key.new()
    key.save(tmp_path / "key.pem", password="opens")
    er.Trust(tmp_path / "trust.json").add(key)
    fitted.save(tmp_path / "out" / "posterior")

    def run(*words):
        place = ("--registry", str(tmp_path / "models"))
        return CliRunner().invoke(app, [*map(str, words), *place], prog_name="elboroom")

    assert (
        "level/1  trusted" in run("register", tmp_path / "out", "level", "--key", tmp_path / "key.pem").output
    )
    assert run("register", tmp_path / "out", "level", "--parent", 1, "--tag", "stage=shadow").exit_code == 0
    assert (
        run("promote", "level", 1, "--trust", tmp_path / "trust.json").output
        == "level@live is version 1, trusted\n"
    )
    refused = run("promote", "level", 2, "--trust", tmp_path / "trust.json")
    assert refused.exit_code == 2 and "without a signature" in refused.output
    assert run("promote", "level", "latest", "--because", "a trial").exit_code == 0
    assert run("rollback", "level").output == "level@live is version 1, trusted\n"
    assert "[ok] registry, level: 2 versions" in run("versions", "level").output
    unsigned = run("versions", "level", "--trust", tmp_path / "trust.json", "--fail-on", "caution")
    assert unsigned.exit_code == 4 and "[untrusted] version, level/2" in unsigned.output
    assert run("versions", "level", "--fail-on", "caution").exit_code == 0
    assert "KEY=VALUE" in run("register", tmp_path / "out", "level", "--tag", "bad").output
