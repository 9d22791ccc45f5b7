"""The store on Redis by itself: who is let in, what is damaged, and what lies where."""

# pyright: reportPrivateUsage=false
# The fence is raised from inside, as the next owner of a session will do it.

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.audit import AuditEntry
from bargein.timeline.checksum import event_crc, session_crc
from bargein.timeline.redis import door as door_module
from bargein.timeline.redis import reads as reads_module
from bargein.timeline.redis.keys import (
    HEAD,
    LINES,
    OUTBOXES,
    SERVING,
    VERSION,
    events_key,
    lease_key,
    owner_key,
    row_key,
)
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address, Sentinel
from bargein.timeline.store import (
    AuditCorrupt,
    NewSession,
    SchemaTooNew,
    SeqConflict,
    StoreError,
    StoreUnavailable,
    StoreUnopened,
    StoreUnsuitable,
    TimelineCorrupt,
)
from bargein.timeline.verification import checked_audit
from tests.fakes.certificates import make_pair
from tests.timeline.appends import (
    OPENED_AT,
    A,
    B,
    C,
    Notes,
    all_seqs,
    entry,
    frame,
    new_session,
    running,
)
from tests.timeline.redis_server import IN_MEMORY, RedisServer, free_port, redis_server

PASSWORD = "correct horse battery staple"  # noqa: S105 - of a server that lives for one test


@pytest.fixture
def address(redis: RedisServer) -> Address:
    return Address("127.0.0.1", redis.port)


async def failure_of(store: RedisStore) -> StoreError:
    """Run a store that can't be opened, and return why."""
    with pytest.RaisesGroup(StoreError, flatten_subgroups=True) as caught:
        async with running(store):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, StoreError)
    return error


# --- where it is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", Address("localhost")),
        ("redis://127.0.0.1:6380/2", Address("127.0.0.1", 6380, 2)),
        ("rediss://me%40here@redis.example/", Address("redis.example", tls=True, user="me@here")),
        ("redis://[::1]:7000", Address("::1", 7000)),
        (
            "redis+sentinel://me@one:26380,[::1]/mymaster/2",
            Address(
                "one",
                26380,
                2,
                user="me",
                sentinels=(Sentinel("one", 26380), Sentinel("::1")),
                primary="mymaster",
            ),
        ),
        (
            "rediss+sentinel://one/main",
            Address("one", 26379, tls=True, sentinels=(Sentinel("one"),), primary="main"),
        ),
    ],
)
def test_an_address_is_read_from_a_url(url: str, expected: Address) -> None:
    assert Address.of(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "http://localhost",
        "redis://localhost/x",
        "redis://localhost/-1",
        "redis://localhost:x",
        "redis://localhost:70000",
        "redis://:hunter22@localhost",
        "redis://localhost?db=1",
        "redis://localhost#1",
        "redis://local\thost",
        "redis+sentinel://one:26379",
        "redis+sentinel://one,/mymaster",
        "redis+sentinel://one/mymaster/x",
        "redis+sentinel://:hunter22@one/mymaster",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at below
        Address.of(url)
    assert "hunter22" not in str(caught.value)


def test_an_address_does_not_show_its_password() -> None:
    address = Address.of("redis://me@localhost", "hunter22")
    assert address.password == "hunter22"  # noqa: S105
    assert "hunter22" not in f"{address} {address!r}"


# --- who is let in -------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "locked", *IN_MEMORY, "--requirepass", PASSWORD) as server:
        yield server


async def test_a_password_lets_in_and_a_wrong_one_is_said_without_repeating_it(
    locked: RedisServer,
) -> None:
    right = Address("127.0.0.1", locked.port, password=PASSWORD)
    async with running(store := RedisStore(right)):
        await Notes().stored(store, A, 1, 1)
    for wrong in (None, "another password"):
        error = await failure_of(RedisStore(Address("127.0.0.1", locked.port, password=wrong)))
        assert isinstance(error, StoreUnopened)
        assert "password" in str(error)
        assert "another" not in str(error)


async def test_over_tls_only_a_server_with_a_trusted_certificate_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_pair(tmp_path)
    port = free_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(made.certificate), "--tls-key-file", str(made.key))
    with redis_server(tmp_path / "redis", *IN_MEMORY, *options, *files):
        error = await failure_of(RedisStore(Address("127.0.0.1", port, tls=True), open_s=1))
        assert isinstance(error, StoreUnavailable)
        assert "certificate" in error.reason.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
        notes = Notes()
        async with running(store := RedisStore(Address("127.0.0.1", port, tls=True))):
            await notes.stored(store, A, 1, 3)
            assert await all_seqs(store, A) == [1, 2, 3]


async def test_a_redis_that_is_not_there_is_unavailable() -> None:
    error = await failure_of(RedisStore(Address("127.0.0.1", 1), open_s=0.2))
    assert isinstance(error, StoreUnavailable)
    assert "refused" in error.reason


async def test_a_redis_that_may_evict_leases_and_inboxes_is_unsuitable(tmp_path: Path) -> None:
    options = (*IN_MEMORY, "--maxmemory-policy", "volatile-ttl")
    with redis_server(tmp_path / "cache", *options) as server:
        error = await failure_of(RedisStore(Address("127.0.0.1", server.port)))
    assert isinstance(error, StoreUnsuitable)
    assert "volatile-ttl" in error.reason


async def test_a_redis_that_may_evict_timelines_is_unsuitable(tmp_path: Path) -> None:
    options = (*IN_MEMORY, "--maxmemory-policy", "allkeys-lru")
    with redis_server(tmp_path / "cache", *options) as server:
        error = await failure_of(RedisStore(Address("127.0.0.1", server.port)))
    assert isinstance(error, StoreUnsuitable)
    assert "allkeys-lru" in error.reason


async def test_what_newer_code_has_written_is_left_alone(
    redis: RedisServer, address: Address
) -> None:
    redis.say("SET", VERSION, "3")
    for is_server in (True, False):
        error = await failure_of(RedisStore(address, is_server=is_server))
        assert isinstance(error, SchemaTooNew)
        assert (error.found, error.known) == (3, 2)


async def test_many_servers_serve_and_a_visitor_knows_whether_one_does(address: Address) -> None:
    notes = Notes()
    visitor = RedisStore(address, is_server=False)
    async with running(visitor):
        assert not await visitor.is_served()
        async with running(first := RedisStore(address)):
            await notes.stored(first, A, 1, 3)
            async with running(second := RedisStore(address)):
                await notes.stored(second, B, 1, 2)
                assert await all_seqs(second, A) == [1, 2, 3]
                assert await visitor.is_served()
            assert await visitor.is_served()
        assert not await visitor.is_served()
    async with running(third := RedisStore(address)):
        await notes.stored(third, A, 4, 4)


async def test_beside_a_server_of_older_code_nobody_serves(
    redis: RedisServer, address: Address
) -> None:
    redis.say("SET", VERSION, "1")
    redis.say("SET", SERVING, "somebody")
    error = await failure_of(RedisStore(address, open_s=0.2))
    assert isinstance(error, StoreUnavailable)
    assert "older version" in error.reason
    redis.say("DEL", SERVING)
    redis.say("SADD", OUTBOXES, A)
    async with running(store := RedisStore(address)):
        await Notes().stored(store, A, 1, 1)
        assert redis.say("GET", VERSION) == b"$1\r\n2\r\n"
        assert redis.say("TYPE", OUTBOXES) in {b"+hash\r\n", b"+none\r\n"}  # it may be swept


async def test_a_server_whose_lease_was_lost_has_it_again_and_says_so(
    redis: RedisServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "RENEW_S", 0.01)
    store, notes, lapsed = RedisStore(address), Notes(), trio.Event()
    store.lease.on_lapsed = lapsed.set
    async with running(store):
        await notes.stored(store, A, 1, 3)
        redis.say("DEL", lease_key(store.lease.me))
        await lapsed.wait()
        assert not store.lease.is_sure  # others may be late, too
        assert redis.say("EXISTS", lease_key(store.lease.me)) == b":1\r\n"
        await notes.stored(store, A, 4, 4)


async def test_after_a_long_pause_the_lease_comes_before_any_append(
    redis: RedisServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "RENEW_S", 60)
    store, notes, lapsed = RedisStore(address), Notes(), trio.Event()
    store.lease.on_lapsed = lapsed.set
    async with running(store):
        await notes.stored(store, A, 1, 3)
        redis.say("DEL", lease_key(store.lease.me))
        assert store.lease._said_s is not None
        store.lease._said_s -= 60
        await notes.stored(store, A, 4, 4)
        assert lapsed.is_set()
        assert redis.say("EXISTS", lease_key(store.lease.me)) == b":1\r\n"


# --- what is damaged -----------------------------------------------------------------------


@pytest.fixture
async def stored(address: Address) -> RedisStore:
    """Return a store that is not running, with two sessions of five events in it."""
    async with running(store := RedisStore(address)):
        notes = Notes()
        await notes.stored(store, A, 1, 5)
        await notes.stored(store, B, 1, 5)
    return RedisStore(address)


def rewrite(redis: RedisServer, *events: tuple[str, bytes, int]) -> None:
    """Put other events into the stream of A."""
    redis.say("DEL", events_key(A))
    for name, content, checksum in events:
        redis.say("XADD", events_key(A), name, "f", content, "c", checksum)


def sound(seq: int) -> tuple[str, bytes, int]:
    return f"{seq}-0", frame(A, seq), event_crc(session_crc(A), seq, frame(A, seq))


async def corrupt_at(store: RedisStore) -> int:
    with pytest.raises(TimelineCorrupt) as caught:
        await store.read(A, Seq(0), limit=100, most_bytes=10**6)
    assert caught.value.session_id == A
    return caught.value.seq


@pytest.mark.parametrize(
    "bad",
    [
        ("3-0", frame(A, 4), sound(3)[2]),
        ("3-0", b"", 0),
        ("3-0", sound(3)[1], sound(3)[2] + 1),
        ("3-0", sound(4)[1], sound(4)[2]),
        ("3-1", sound(3)[1], sound(3)[2]),
    ],
)
async def test_a_changed_event_is_found_and_the_others_are_served(
    redis: RedisServer, stored: RedisStore, bad: tuple[str, bytes, int]
) -> None:
    rewrite(redis, sound(1), sound(2), bad, sound(4), sound(5))
    async with running(stored):
        assert await corrupt_at(stored) == 3
        before = await stored.read(A, Seq(0), limit=2, most_bytes=10**6)
        assert [event.seq for event in before] == [1, 2]
        if bad[0] == "3-0":
            behind = await stored.read(A, Seq(3), limit=9, most_bytes=10**6)
            assert [event.seq for event in behind] == [4, 5]
        assert await all_seqs(stored, B) == [1, 2, 3, 4, 5]


async def test_any_flipped_byte_of_a_frame_is_found(redis: RedisServer, stored: RedisStore) -> None:
    name, content, checksum = sound(3)
    async with running(stored):
        for place in range(len(content)):
            bad = bytearray(content)
            bad[place] ^= 0x80
            rewrite(redis, sound(1), sound(2), (name, bytes(bad), checksum), sound(4), sound(5))
            assert await corrupt_at(stored) == 3


@pytest.mark.parametrize(("missing", "first"), [([3], 3), ([1], 1), ([4, 5], 4), ([2, 5], 2)])
async def test_missing_events_are_found_and_nothing_is_appended_behind_them(
    redis: RedisServer, stored: RedisStore, missing: list[int], first: int
) -> None:
    redis.say("XDEL", events_key(A), *(f"{seq}-0" for seq in missing))
    notes = Notes()
    async with running(stored):
        assert await corrupt_at(stored) == first
        with pytest.raises(TimelineCorrupt) as caught:
            await stored.row(A)
        assert caught.value.seq == first
        notes.submit(stored, A, 6)
        notes.submit(stored, B, 6)
        await notes.all_answered()
        ((name, _, error),) = notes.failed
        assert (name, type(error)) == (A, TimelineCorrupt)
        assert notes.durable == [(B, 6)]


async def test_a_stream_without_its_row_takes_no_new_history(
    redis: RedisServer, stored: RedisStore
) -> None:
    redis.say("DEL", row_key(A))
    notes = Notes()
    async with running(stored):
        assert await stored.row(A) is None
        notes.submit(stored, A, 1)
        await notes.all_answered()
        assert isinstance(notes.failed[0][2], TimelineCorrupt)
        assert await stored.erase(A) is False
        await stored.row(A)
        await notes.stored(stored, A, 1, 2)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("principal", "eve"),
        ("principal", b"\xff\xfe"),
        ("tenant", "acme"),
        ("epoch", "another"),
        ("changed", "1"),
        ("opened", "2000-01-01T00:00:00.000Z"),
        ("crc", "0"),
        ("crc", "x"),
        ("last", "many"),
        ("last", "-1"),
        ("closed", "perhaps"),
        ("unsettled", b"\xff"),
    ],
)
async def test_a_damaged_row_serves_nobody_and_is_left_out_of_lists(
    redis: RedisServer, stored: RedisStore, column: str, value: str | bytes
) -> None:
    redis.say("HSET", row_key(A), column, value)
    async with running(stored):
        with pytest.raises(TimelineCorrupt) as caught:
            await stored.row(A)
        assert (caught.value.session_id, caught.value.seq) == (A, 0)
        assert [row.session_id for row in await stored.sessions_of("ann", None, limit=9)] == [B]
        assert [one.row.session_id for one in await stored.sessions(0, limit=9)] == [B]
        assert await stored.session_names() == [A, B]
        assert await stored.row(B) is not None


async def test_lists_pass_over_damaged_pages(redis: RedisServer, stored: RedisStore) -> None:
    redis.say("DEL", row_key(A))
    async with running(stored):
        (listed,) = await stored.sessions(0, limit=1)  # a page of A alone would be the end
        assert listed.row.session_id == B
        assert await stored.sessions(listed.place, limit=1) == []


@pytest.mark.parametrize(
    ("change", "n"),
    [
        (("XDEL", LINES, "2-0"), 2),
        (("XDEL", LINES, "3-0"), 3),
        (("DEL", LINES), 1),
        (("HSET", HEAD, "n", "2"), 3),
        (("HSET", HEAD, "hash", "x" * 32), 3),
        (("HSET", HEAD, "hash", "x"), 3),
        (("DEL", HEAD), 3),
        (("XADD", LINES, "4-0", "t", "{}", "h", "x" * 32), 4),
    ],
)
async def test_damage_at_the_audits_end_is_found_and_stops_what_has_to_be_audited(
    redis: RedisServer, address: Address, change: tuple[str, ...], n: int
) -> None:
    notes = Notes()
    async with running(store := RedisStore(address)):
        notes.submit(store, A, 1, audit=(entry(A, 1), entry(A, 2), entry(A, 3)))
        await notes.all_answered()
        assert (await checked_audit(store)).damage is None
        redis.say(*change)
        damage = (await checked_audit(store)).damage
        assert damage is not None
        assert damage.n == n
        if change == ("XDEL", LINES, "2-0"):
            return  # it is not at the end, so more can follow
        notes.submit(store, B, 1, audit=(entry(B, 1),))
        notes.submit(store, C, 1)
        await notes.all_answered()
        ((name, _, error),) = notes.failed
        assert (name, type(error)) == (B, AuditCorrupt)
        assert notes.durable[-1] == (C, 1)
        assert await store.row(B) is None
        with pytest.raises(AuditCorrupt):
            await store.erase(C, (entry(C, 1),))
        assert await all_seqs(store, C) == [1]


async def test_notes_that_a_damaged_audit_does_not_take_are_an_illness_and_wait(
    redis: RedisServer, address: Address
) -> None:
    notes = Notes()
    async with running(store := RedisStore(address)):
        redis.say("HSET", HEAD, "n", "7")
        store.record_audit([entry(A, 1)])
        notes.submit(store, A, 1)
        await notes.all_answered()
        await store._ward.until(sound=False)
        assert "audit" in store.health.reason
        notes.submit(store, A, 2)
        await notes.all_answered()
        assert notes.durable[-1] == (A, 2)
        assert not store.health.is_sound
        redis.say("DEL", HEAD)
        await store.until_sound()
        assert [line.n for line in await store.audit_lines(0, limit=9)] == [1]


# --- what lies where -----------------------------------------------------------------------


async def test_an_append_with_an_older_fence_comes_too_late(address: Address) -> None:
    notes = Notes()
    async with running(store := RedisStore(address)):
        await notes.stored(store, A, 1, 3)
        await store._changes.fence(A)  # as the next owner of the session does it
        notes.submit(store, A, 4)
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, SeqConflict)
        assert (error.expected, error.found) == (3, 3)
        await store.row(A)
        await notes.stored(store, A, 4, 5)


async def test_nobody_becomes_the_owner_of_a_session_that_is_there(address: Address) -> None:
    notes = Notes()
    async with running(store := RedisStore(address)):
        await notes.stored(store, A, 1, 3)
        notes.submit(store, A, 1, opened=new_session(A, "eve"))
        await notes.all_answered()
        assert isinstance(notes.failed[0][2], SeqConflict)
        assert await store.session_ids_of("eve", None) == []
        assert await store.session_ids_of("ann", None) == [A]


async def test_large_timelines_are_read_by_calls_that_redis_is_quickly_done_with(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads_module, "MOST_EVENTS", 7)
    monkeypatch.setattr(reads_module, "MOST_BYTES", 1000)
    notes = Notes()
    sizes = [1, 5000, 10, 999, *([50] * 40), 3000]
    async with running(store := RedisStore(address)):
        notes.submit(store, A, 1, len(sizes), frames=tuple(b"x" * size for size in sizes))
        await notes.all_answered()

        async def read(after: int, limit: int, most_bytes: int) -> list[int]:
            page = await store.read(A, Seq(after), limit=limit, most_bytes=most_bytes)
            assert [event.seq for event in page] == list(range(after + 1, after + 1 + len(page)))
            return [len(event.frame) for event in page]

        assert await read(0, 1000, 10**6) == sizes
        assert await read(0, 20, 10**6) == sizes[:20]
        assert await read(0, 100, 6010) == sizes[:4]
        assert await read(0, 100, 6009) == sizes[:3]
        assert await read(1, 100, 10) == [5000]
        assert await read(44, 100, 10**6) == [3000]
        assert await read(45, 100, 10**6) == []
        assert await store.size_bytes(A) == sum(sizes)


async def test_all_keys_of_a_session_lie_in_one_slot_and_the_lists_in_another(
    redis: RedisServer, address: Address
) -> None:
    notes = Notes()
    async with running(store := RedisStore(address)):
        new = NewSession(A, "ann", "acme", new_session(A).epoch, OPENED_AT)
        notes.submit(store, A, 1, opened=new, audit=(entry(A, 1),), unsettled=True)
        await notes.all_answered()
        keys = set(redis.say("KEYS", "*").split(b"\r\n")[2::2])
    tags = {key.split(b"{")[1].split(b"}")[0] for key in keys}
    assert tags == {A.encode(), b"index", b"audit"}
    assert {row_key(A), events_key(A), owner_key("ann", "acme")} <= {key.decode() for key in keys}


async def test_nothing_of_an_erased_session_is_left_but_its_line(
    redis: RedisServer, address: Address
) -> None:
    notes = Notes()
    erased = AuditEntry(ts=OPENED_AT, act="session.erased", session_id=A)
    async with running(store := RedisStore(address)):
        notes.submit(store, A, 1, 9, unsettled=True, audit=(entry(A, 1),))
        await notes.all_answered()
        assert await store.erase(A, (erased,))
    left = set(redis.say("KEYS", "*").split(b"\r\n")[2::2])
    assert {HEAD.encode(), LINES.encode(), VERSION.encode()} == left


async def test_a_thousand_sessions_are_listed_whole(address: Address) -> None:
    notes = Notes()
    names = [SessionId(f"sess_{n:04d}") for n in range(1200)]
    async with running(store := RedisStore(address)):
        for name in names:
            notes.submit(store, name, 1, urgent=False, unsettled=True)
        await notes.all_answered()
        assert await store.session_names() == names
        assert await store.unsettled() == names
        rows = await store.sessions_of("ann", None, limit=5000)
        assert [row.session_id for row in rows] == names[::-1]
        found, after = list[SessionId](), 0
        while page := await store.sessions(after, limit=100):
            found += [one.row.session_id for one in page]
            after = page[-1].place
        assert found == names
