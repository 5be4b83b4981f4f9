"""Signatures against RFC 8032 and the library itself; what must not be trusted fails closed."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from elboroom.operations.keys import CONTEXT, Key
from elboroom.operations.signing import sign

import elboroom as er


@pytest.fixture
def folder(fitted, tmp_path):
    return fitted.save(tmp_path / "posterior")


@pytest.fixture(scope="module")
def key():
    return er.Key.new()


def refusal(call, *words):
    with pytest.raises(er.SignatureError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value


def test_signatures_are_those_of_ed25519_over_the_manifest(folder, key):
    """The key of RFC 8032, section 7.1, test 1; what it has signed, checked by the library alone."""
    private = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    known = Key(ed25519.Ed25519PrivateKey.from_private_bytes(private))
    assert known.id == hashlib.sha256(public).hexdigest()[:16]
    record = json.loads(sign(folder, known).read_text())
    content = CONTEXT + (folder / "manifest.json").read_bytes()
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(record["signature"]), content)
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    for name in ("posterior.json", "posterior.nc", "guide.safetensors"):
        assert listed[name]["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_a_signed_posterior_is_loaded_and_no_other(folder, key, fitted, tmp_path):
    trust = er.Trust.of(key)
    refusal(lambda: er.load(folder, trust=trust), "a signed folder", "without a signature")
    sign(folder, key)
    assert er.load(folder, trust=trust).summary().equals(fitted.summary())
    refusal(lambda: er.load(folder, trust=er.Trust.of(er.Key.new())), f"{key.id} (unknown)")
    refusal(lambda: er.load(folder, trust=er.Trust(tmp_path / "empty.json")), "unknown")
    refusal(lambda: er.load(tmp_path / "absent", trust=trust), "absent")
    with pytest.raises(er.InferenceError, match="er.Trust"):
        er.load(folder, trust="trust.json")


def test_every_flipped_byte_is_found(folder, key):
    sign(folder, key)
    trust = er.Trust.of(key)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        content = path.read_bytes()
        for at in (0, len(content) // 2, len(content) - 3):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            refusal(lambda: trust.verify(folder), str(folder))
            refusal(lambda: er.load(folder, trust=trust), str(folder))
        path.write_bytes(content)
    assert trust.verify(folder).id == key.id


@pytest.mark.parametrize("name", ["signatures/evil.py", "signatures/deep/0123456789abcdef.json", "extra"])
def test_files_beside_what_was_signed_are_found(folder, key, name):
    sign(folder, key)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    refusal(lambda: er.Trust.of(key).verify(folder), name)


@pytest.mark.parametrize("name", ["a:b", "a\\b", "nul", "\udc80"])
def test_names_that_would_not_verify_are_not_signed(tmp_path, key, name):
    (tmp_path / name).write_text("x")
    refusal(lambda: sign(tmp_path, key), "Rename them")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "C:x", "a\\b"])
def test_names_that_lead_out_of_the_folder_are_refused_even_if_signed(folder, key, name):
    content = json.dumps(
        {"format": "elboroom-manifest/1", "files": {name: {"sha256": "0" * 64, "bytes": 1}}}
    ).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "signatures").mkdir()
    (folder / "signatures" / "x.json").write_bytes(key.signature(content))
    refusal(lambda: er.Trust.of(key).verify(folder), "lead out of the folder")


def test_a_signature_of_the_same_bytes_without_their_context_is_none(folder, key):
    path = sign(folder, key)
    record = json.loads(path.read_text())
    bare = key._private.sign((folder / "manifest.json").read_bytes())
    path.write_text(json.dumps({**record, "signature": base64.b64encode(bare).decode()}))
    refusal(lambda: er.Trust.of(key).verify(folder), "of another content")


def test_rotated_and_revoked_keys(tmp_path, fitted):
    """What a retired key has signed holds, and it signs nothing new; of a revoked one nothing holds."""
    old, new, trust = er.Key.new(), er.Key.new(), er.Trust(tmp_path / "trust.json")
    trust.add(old, "training machine")
    registry = er.Registry(tmp_path / "models", key=old, trust=trust)
    registry.add(fitted, "level")
    trust.add(new)
    trust.retire(old, "rotated")
    assert registry.get("level", 1).number == 1
    refusal(lambda: registry.add(fitted, "level"), f"key '{old.id}'", "a retired one")
    refusal(lambda: registry.sign("level", 1), f"key '{old.id}'", "a retired one")
    unsigned = er.Registry(tmp_path / "models").add(fitted, "level")
    refusal(lambda: registry.promote("level", unsigned), "without a signature")
    trust.revoke(old, "lost")
    refusal(lambda: registry.get("level", 1), "(revoked)")
    registry.sign("level", 1, key=new)
    assert er.load(registry.get("level", 1).folder, trust=trust).verdict == "trusted"
    assert [(k.id, k.state, k.because) for k in er.Trust(tmp_path / "trust.json").keys] == [
        (old.id, "revoked", "lost"),
        (new.id, "trusted", ""),
    ]
    refusal(lambda: trust.retire(old, "x"), "a revoked one")
    refusal(lambda: trust.add(old), "one that is known")
    refusal(lambda: trust.revoke("0" * 16, "x"), "0000")


def test_what_another_program_revokes_is_revoked_at_once_and_stays_so(tmp_path, folder, key):
    one, other = er.Trust(tmp_path / "trust.json"), er.Trust(tmp_path / "trust.json")
    one.add(key)
    sign(folder, key)
    assert other.verify(folder).id == key.id
    one.revoke(key, "lost")
    refusal(lambda: other.verify(folder), "(revoked)")
    new = other.add(er.Key.new())
    assert [(k.id, k.state) for k in one.keys] == [(key.id, "revoked"), (new.id, "trusted")]


def test_no_version_is_loaded_that_nobody_trusted_has_signed(tmp_path, fitted, key):
    er.Registry(tmp_path).add(fitted, "level")
    registry = er.Registry(tmp_path, trust=er.Trust.of(key))
    (version,) = registry.versions("level")
    for call in (version.load, version.schema, lambda: version.record):
        refusal(call, "without a signature")
    assert registry.sign("level", 1, key=key).load().verdict == "trusted"


def test_keys_are_kept_for_their_owner(tmp_path, key):
    path = key.save(tmp_path / "plain.pem")
    assert path.stat().st_mode & 0o077 == 0
    assert er.Key.load(path).id == key.id
    locked = key.save(tmp_path / "locked.pem", password="opens")
    assert er.Key.load(locked, "opens").id == key.id and b"ENCRYPTED" in locked.read_bytes()
    refusal(lambda: er.Key.load(locked, "other"), "this password opens")
    refusal(lambda: er.Key.load(locked), "locked.pem")
    refusal(lambda: key.save(path), "cannot be made again")
    refusal(lambda: er.Key.load(tmp_path / "absent.pem"), "no such file")
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    (tmp_path / "rsa.pem").write_bytes(pem)
    refusal(lambda: er.Key.load(tmp_path / "rsa.pem"), "RSA")
    with pytest.raises(er.DataError, match="password"):
        key.save(tmp_path / "none.pem", password="")


def test_only_public_keys_are_written_into_trust(tmp_path, key):
    trust = er.Trust(tmp_path / "trust.json")
    trust.add(key.public, "ann")
    text = (tmp_path / "trust.json").read_text()
    assert "PRIVATE" not in text and key.id in text
    (tmp_path / "trust.json").write_text(text.replace('"trusted"', '"retired"'))
    refusal(lambda: er.Trust(tmp_path / "trust.json"), "changed content", "nothing is trusted")
    refusal(lambda: er.Trust.of("no key"), "public key in PEM")
    refusal(lambda: sign(tmp_path, "no key"), "an er.Key")
    refusal(lambda: er.Key("key.pem"), "er.Key.load")
    refusal(lambda: sign(tmp_path / "absent", key), "a folder")


def test_a_second_signature_needs_the_files_as_they_were(folder, key):
    sign(folder, key)
    (folder / "note.txt").write_text("later")
    refusal(lambda: sign(folder, er.Key.new()), "note.txt")
    (folder / "note.txt").unlink()
    other = er.Key.new()
    sign(folder, other)
    assert er.Trust.of(other).verify(folder).id == other.id
    assert er.Trust.of(key).verify(folder).id == key.id


@pytest.mark.external
def test_openssf_model_signing_is_an_interchange(folder, tmp_path):
    """What we sign its own verifier takes, and what was changed it refuses, as we do."""
    pytest.importorskip("model_signing", reason="model-signing is not installed")
    from cryptography.hazmat.primitives.asymmetric import ec
    from elboroom.operations.openssf import sign_openssf, verify_openssf
    from model_signing import verifying

    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "ec.pem").write_bytes(pem)
    public = private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub").write_bytes(public)
    signature = sign_openssf(folder, tmp_path / "ec.pem")
    verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "ec.pub").verify(folder, signature)
    verify_openssf(folder, tmp_path / "ec.pub")
    (folder / "extra.txt").write_text("x")
    refusal(lambda: verify_openssf(folder, tmp_path / "ec.pub"), "extra.txt")
    (folder / "extra.txt").unlink()
    (folder / "posterior.json").write_text("{}")
    refusal(lambda: verify_openssf(folder, tmp_path / "ec.pub"), "posterior")
    refusal(lambda: sign_openssf(folder, tmp_path / "absent.pem"), "openssl ecparam")
