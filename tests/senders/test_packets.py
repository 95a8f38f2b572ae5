"""Packets byte by byte, and as independent libraries read them."""

from __future__ import annotations

import csv
import json
import socket
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face.deform import pose_matrix
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.face.shape_sets import ShapeConverter
from jambatalk.formats.live_link_csv import head_and_eyes
from jambatalk.motion import Motion
from jambatalk.senders import open_sender, senders_table
from jambatalk.senders.live_link import PACKET_SHAPES, encode, frame_rate
from jambatalk.senders.osc import IMMEDIATELY, bundle, bundles, message, time_tag
from jambatalk.senders.vmc import NECK_SHARE, unity_quaternion
from jambatalk.session import Frame
from tiny_avatar import make_avatar


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        yield listening


def frame(time=0.0, pose=None, names=ARKIT_NAMES, **weights):
    values = np.array([weights.get(name, 0.0) for name in names], np.float32)
    return Frame(time, values, tuple(names), None if pose is None else np.array(pose, np.float32))


def opened(receiver, scheme, rest="", fps=25.0, names=ARKIT_NAMES):
    return open_sender(f"{scheme}://127.0.0.1:{receiver.getsockname()[1]}{rest}", names, fps)


def test_live_link_by_hand(receiver):
    device = "0123456789AB-0123456789AB-0123456789"
    link = opened(receiver, "livelink", f"?name=Mia&device={device}", fps=29.97)
    link._clock = lambda: 2.002  # 60 frames of 1001/30000 s
    link.send(frame(jawLeft=0.25, mouthRight=0.5, jawOpen=1.0, pose=(0.1, 0.2, 0.3)))
    values = [0.0] * 61
    values[15], values[22], values[17] = (
        0.25,
        0.5,
        1.0,
    )  # Unreal's enumeration: JawLeft 15, JawOpen 17, MouthRight 22
    values[52:55] = [-0.2, 0.1, 0.3]  # yaw, pitch, roll
    expected = b"\x06" + b"\x00\x00\x00\x24" + device.encode() + b"\x00\x00\x00\x03Mia"
    expected += (
        b"\x00\x00\x00\x3c"
        + b"\x00\x00\x00\x00"
        + b"\x00\x00\x75\x30"
        + b"\x00\x00\x03\xe9"
        + b"\x3d"
    )
    got = receiver.recv(2000)
    assert got[: len(expected)] == expected
    np.testing.assert_allclose(struct.unpack(">61f", got[len(expected) :]), values, atol=1e-7)
    link.close()


def test_live_link_as_another_library_reads_it(receiver):
    pylivelinkface = pytest.importorskip("pylivelinkface")
    order = [shape.name for shape in pylivelinkface.FaceBlendShape]
    assert tuple(order[:52]) == PACKET_SHAPES
    rng = np.random.default_rng(0)
    weights = {name: float(rng.uniform()) for name in ARKIT_NAMES}
    link = opened(receiver, "livelink", "?name=talker&device=stage%20left", fps=60)
    link.send(frame(**weights))
    found, face = pylivelinkface.PyLiveLinkFace.decode(receiver.recv(2000))
    assert found
    assert face.name == "talker"
    assert face.fps == 60
    assert face._denominator == 1
    for name, value in weights.items():
        shape = pylivelinkface.FaceBlendShape[name[0].upper() + name[1:]]
        assert face.get_blendshape(shape) == pytest.approx(value, abs=1e-6)
    link.close()


def test_angles_are_those_of_the_csv(tmp_path):
    rng = np.random.default_rng(1)
    weights, pose = (
        rng.uniform(size=(5, 52)).astype(np.float32),
        rng.normal(size=(5, 3)).astype(np.float32),
    )
    Motion(25.0, weights, ARKIT_NAMES, head_pose=pose).save(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    names = ["HeadYaw", "HeadPitch", "HeadRoll"] + [
        f"{side}Eye{way}" for side in ("Left", "Right") for way in ("Yaw", "Pitch", "Roll")
    ]
    assert rows[0][-9:] == names
    expected = np.array([row[-9:] for row in rows[1:]], float)
    np.testing.assert_allclose(head_and_eyes(weights, pose), expected, atol=1e-6)
    assert not head_and_eyes(np.zeros((1, 52)), None).any()


def test_a_part_of_a_frame_stays_below_one():
    d = pow(1001, -1, 30000) + 32 * 30000
    seconds = Fraction((1001 * d - 1) // 30000, d)  # one part in 1001 d before a whole frame
    packet = encode("d" * 36, "n", float(seconds), Fraction(30000, 1001), [0.0] * 61)
    whole, part = struct.unpack_from(">if", packet, 1 + 4 + 36 + 4 + 1)
    assert whole == int(seconds * 30000 / 1001)
    assert 0.999 < part < 1


def test_live_link_as_a_reader_of_unreals_kind_takes_it(receiver):
    """Field by field as public readers of packet version 6 do: each string with its own length,
    big-endian, nothing left over."""
    link = opened(receiver, "livelink", "?name=Mia", fps=29.97)
    link.send(frame(tongueOut=0.5))
    packet = receiver.recv(2000)
    at, texts = 1, []
    for _ in range(2):
        (length,) = struct.unpack_from(">i", packet, at)
        texts.append(packet[at + 4 : at + 4 + length].decode())
        at += 4 + length
    _, part, numerator, denominator, count = struct.unpack_from(">ifiiB", packet, at)
    values = struct.unpack_from(f">{count}f", packet, at + 17)
    assert packet[0] == 6
    assert texts[1] == "Mia"
    assert (numerator, denominator, count) == (30000, 1001, 61)
    assert 0 <= part < 1
    assert values[51] == 0.5
    assert len(packet) == at + 17 + 4 * 61
    link.close()


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(25, (25, 1)), (29.97, (30000, 1001)), (60, (60, 1)), (59.94, (60000, 1001))],
)
def test_frame_rates(fps, expected):
    assert frame_rate(fps).as_integer_ratio() == expected


def test_unicode_names_count_bytes_and_long_ones_are_refused(receiver):
    link = opened(receiver, "livelink", "?name=Zo%C3%AB")
    link.send(frame())
    assert receiver.recv(2000)[41:49] == b"\x00\x00\x00\x04" + "Zoë".encode()
    for name in ("x" * 256, "%C3%AB" * 128, "", "a%0Ab"):
        with pytest.raises(InputError, match="name"):
            opened(receiver, "livelink", f"?name={name}")


def test_nan_becomes_zero_and_the_range_is_kept(receiver):
    link = opened(receiver, "udp-json")
    link.send(frame(jawOpen=np.nan, mouthClose=np.inf, jawLeft=-3.0, pose=(np.nan, 0, 0)))
    ready, sent = json.loads(receiver.recv(4000)), json.loads(receiver.recv(4000))
    got = dict(zip(ready["names"], sent["weights"], strict=True))
    assert (got["jawOpen"], got["mouthClose"], got["jawLeft"], sent["pose"]) == (
        0.0,
        1.0,
        0.0,
        None,
    )


def test_osc_by_hand_and_as_another_library_reads_it():
    assert (
        message("/ab", 1, 0.5, "x")
        == b"/ab\0,ifs\0\0\0\0" + b"\0\0\0\1" + b"\x3f\0\0\0" + b"x\0\0\0"
    )
    assert bundle([b"abcd"]) == b"#bundle\0" + b"\0" * 7 + b"\1" + b"\0\0\0\4abcd"
    assert time_tag(None) == IMMEDIATELY
    assert time_tag(0.5) == (2208988800 << 32) + 2**31
    osc = pytest.importorskip("pythonosc.osc_bundle")
    read = osc.OscBundle(bundle([message("/a/bcd", -7, "four", True), message("/é")], 1e9))
    assert read.timestamp == pytest.approx(1e9)
    assert read.content(0).address == "/a/bcd"
    assert read.content(0).params == [-7, "four", True]


def test_bundles_stay_below_the_limit_and_lose_nothing():
    elements = [message(f"/{i}", float(i)) for i in range(300)]
    packets = bundles(elements, 200)
    assert max(map(len, packets)) <= 200
    osc = pytest.importorskip("pythonosc.osc_bundle")
    assert [m.address for p in packets for m in osc.OscBundle(p)] == [f"/{i}" for i in range(300)]


def _messages(receiver, last):
    osc = pytest.importorskip("pythonosc.osc_bundle")
    found = []
    while not found or found[-1].address != last:
        packet = receiver.recv(4000)
        assert len(packet) <= 1400
        found += list(osc.OscBundle(packet))
    return found


def test_vmc_over_a_socket(receiver):
    link = opened(receiver, "vmc", "?case=camel&bones=1")
    link.send(frame(1.5, pose=(0.2, -0.3, 0.1), jawOpen=0.75))
    got = _messages(receiver, "/VMC/Ext/Blend/Apply")
    assert got[0].params == [1]
    assert got[1].params == [1.5]
    assert [m.params[0] for m in got if m.address == "/VMC/Ext/Bone/Pos"] == ["Neck", "Head"]
    values = {m.params[0]: m.params[1] for m in got if m.address == "/VMC/Ext/Blend/Val"}
    assert set(values) == set(ARKIT_NAMES)
    assert values["jawOpen"] == 0.75


def _matrix(x, y, z, w):
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@pytest.mark.parametrize(
    "pose",
    [(0, 0, 0), (0.3, 0, 0), (0, 0.4, 0), (0, 0, -0.5), (0.2, -0.6, 0.4), (0, 3.1, 0), (3.0, 1, 2)],
)
def test_quaternions_are_the_turn_seen_with_x_reversed(pose):
    mirror = np.diag([-1.0, 1.0, 1.0])
    expected = mirror @ pose_matrix(np.array(pose)) @ mirror
    np.testing.assert_allclose(_matrix(*unity_quaternion(np.array(pose))), expected, atol=1e-9)
    neck, head = (
        _matrix(*unity_quaternion(np.array(pose), share)) for share in (NECK_SHARE, 1 - NECK_SHARE)
    )
    np.testing.assert_allclose(neck @ head, expected, atol=1e-9)


@pytest.mark.parametrize(("shapes", "first"), [("vrm", "A"), ("vrm1", "aa")])
def test_vowels_of_vrm(receiver, shapes, first):
    link = opened(receiver, "vmc", f"?shapes={shapes}")
    link.send(frame(jawOpen=0.6, eyeBlinkLeft=1.0))
    values = {
        m.params[0]: m.params[1]
        for m in _messages(receiver, "/VMC/Ext/Blend/Apply")
        if m.address.endswith("Val")
    }
    weights = np.zeros((1, 52))
    weights[0, [ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("eyeBlinkLeft")]] = 0.6, 1.0
    *vowels, left, right = ShapeConverter(ARKIT_NAMES, "vrm")(weights)[0]
    assert next(iter(values)) == first
    assert list(values.values()) == pytest.approx([*vowels, (left + right) / 2], abs=1e-6)
    assert sum(vowels) > 0.3
    link.send(frame())
    shut = [m.params[1] for m in _messages(receiver, "/VMC/Ext/Blend/Apply") if "Val" in m.address]
    assert max(shut) < 1e-6


def test_plain_osc_one_by_one_and_packed(receiver):
    opened(receiver, "osc", "/face/a").send(frame(0.5, pose=(0.5, 0.25, 0), jawOpen=0.5))
    got = {m.address: m.params for m in _messages(receiver, f"/face/a/{ARKIT_NAMES[-1]}")}
    assert got["/face/a/time"] == [0.5]
    assert got["/face/a/pose"] == [0.5, 0.25, 0]
    assert got["/face/a/jawOpen"] == [0.5]
    opened(receiver, "osc", "?pack=1").send(frame(jawOpen=0.5))
    got = {m.address: m.params for m in _messages(receiver, "/weights")}
    assert dict(zip(got["/names"], got["/weights"], strict=True))["jawOpen"] == 0.5


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "telnet://a:1",
        "livelink://",
        "osc://localhost",
        "udp-json://localhost",
        "vmc://localhost:0",
        "vmc://localhost:70000",
        "vmc://localhost:x",
        "vmc://localhost?shapes=fbx",
        "vmc://localhost?shape=vrm",
        "vmc://localhost/path",
        "osc://localhost:1/a*b",
        "vmc://no-such-host.invalid",
        "vmc://[::1",
    ],
)
def test_addresses_that_cannot_be(url):
    with pytest.raises(InputError) as error:
        open_sender(url, ARKIT_NAMES, 25)
    assert "\n" not in str(error.value)


def test_shapes_that_a_link_cannot_carry():
    with pytest.raises(InputError, match="jawOpeen"):
        open_sender("livelink://127.0.0.1", ["jawOpeen"], 25)
    with pytest.raises(InputError, match="vertices"):
        open_sender("vmc://127.0.0.1", [], 25)


def test_a_receiver_that_is_not_there_is_counted_and_said_once(receiver, caplog):
    link = opened(receiver, "udp-json")
    address = receiver.getsockname()
    receiver.close()
    for _ in range(5):
        link.send(frame())
    assert link.failed > 0
    assert len(caplog.records) == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(address)
        late.settimeout(10)
        link.send(frame(jawOpen=0.5))
        assert json.loads(late.recv(4000))["type"] == "frame"


def test_web_socket():
    server = pytest.importorskip("websockets.sync.server")
    import threading

    got, done = [], threading.Event()

    def handle(connection):
        got.extend(json.loads(text) for text in connection)
        done.set()

    with server.serve(handle, "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        link = open_sender(
            f"ws://127.0.0.1:{listening.socket.getsockname()[1]}/face", ARKIT_NAMES, 25
        )
        for i in range(3):
            link.send(frame(i / 25, jawOpen=i / 4))
        link.close()
        assert done.wait(10)
        listening.shutdown()
        thread.join()
    assert got[0]["names"] == list(ARKIT_NAMES)
    assert [m["weights"][ARKIT_NAMES.index("jawOpen")] for m in got[1:]] == [0, 0.25, 0.5]


def test_the_documented_table_is_the_registry() -> None:
    docs = Path(__file__).parents[2] / "docs" / "how-to" / "senders.md"
    assert senders_table() in docs.read_text("utf-8")


def test_a_character_gets_its_own_shapes(receiver, tmp_path):
    """A VRM 0.x made of the default head: receivers of VMC know its presets by their own names."""
    groups = [
        {
            "presetName": preset,
            "name": preset.upper(),
            "binds": [{"mesh": 0, "index": k, "weight": 100}],
        }
        for k, preset in enumerate(("a", "u", "blink_l"))
    ]
    extensions = {
        "VRM": {"humanoid": {"humanBones": []}, "blendShapeMaster": {"blendShapeGroups": groups}}
    }
    names = {"jawOpen": "Fcl_MTH_A", "mouthPucker": "Fcl_MTH_U", "eyeBlinkLeft": "Wink"}
    make_avatar(tmp_path / "me.vrm", tuple(names), names, turned=True, extensions=extensions)
    port = receiver.getsockname()[1]
    face = Face.load(tmp_path / "me.vrm")
    link = open_sender(f"vmc://127.0.0.1:{port}", ARKIT_NAMES, 25.0, face)
    link.send(frame(jawOpen=0.5, mouthPucker=0.0, eyeBlinkLeft=1.0))
    values = vmc_values(receiver)
    assert set(values) == {"A", "U", "Blink_L"}
    assert values["A"] == pytest.approx(0.5, abs=0.05)
    assert values["Blink_L"] == pytest.approx(1.0, abs=0.01)
    assert (link.sent, link.failed) == (1, 0)
    link.close()
    # Live Link knows ARKit's names only.
    live = open_sender(f"livelink://127.0.0.1:{port}", ARKIT_NAMES, 25.0, face)
    assert live.names == ARKIT_NAMES
    live.close()
    json_link = open_sender(f"udp-json://127.0.0.1:{port}", ARKIT_NAMES, 25.0, face)
    json_link.send(frame(jawOpen=0.5))
    assert set(json.loads(receiver.recv(4000))["names"]) == {"a", "u", "blink_l"}
    json_link.close()


def vmc_values(receiver):
    """The blend values of one bundle, read by python-osc."""
    osc_bundle = pytest.importorskip("pythonosc.osc_bundle")
    found = {}
    for content in osc_bundle.OscBundle(receiver.recv(4000)):
        if content.address == "/VMC/Ext/Blend/Val":
            name, value = content.params
            found[name] = value
    return found
