"""Every limit of the engine, with its reason and its relation to the others.

Units are the last word of each name. Nothing here is read from the environment:
what an operator may change is in `gateway.settings`.
"""

# -- what an organizer may ask for -------------------------------------------------

#: Ticket types of one event. The per-turn invariant check visits each allotment once,
#: so this bounds the cost of every turn.
TICKET_TYPES_MAX = 50
#: Units of one allotment: ten of the largest stadiums.
CAPACITY_MAX = 1_000_000
#: Highest price: 1 000 000.00 in a two-decimal currency, below Stripe's eight digits.
PRICE_MINOR_MAX = 100_000_000
HOLD_TTL_SECONDS_MIN = 5
HOLD_TTL_SECONDS_MAX = 3_600
HOLD_TTL_SECONDS_DEFAULT = 600
MAX_PER_BOOKING_DEFAULT = 10

# -- what a buyer may ask for ------------------------------------------------------

#: Units of one line. Larger numbers are a typing error whatever the event's own limit is.
QUANTITY_MAX = 1_000
#: Lines of one hold: one for each ticket type at most.
HOLD_ITEMS_MAX = TICKET_TYPES_MAX
#: Named seats of one line; the same bound as for counted units.
SEATS_PER_ITEM_MAX = 100
#: Bookings of one customer in one list answer; older ones are read through the next page.
LIST_MAX = 100

# -- the turn ----------------------------------------------------------------------

#: Commands of one gateway batch. Larger batches add latency and no throughput once the
#: fsync is shared, and 512 holds of 150 bytes stay below the 100 KiB up to which Ray
#: passes arguments inline instead of through its object store.
BATCH_COMMANDS_MAX = 512
#: Batches one gateway keeps in flight for one event: one being decided, one on its way.
BATCHES_IN_FLIGHT_MAX = 2
#: Commands that a batch must have to leave while another is under way. A call costs half
#: a millisecond on either side whatever it carries; the first batch never waits.
NEXT_BATCH_COMMANDS_MIN = 32
#: Commands waiting in one owner. At 10 000 decisions a second this is 0.4 s of work,
#: which is an honest wait; more would outlive the patience of REQUEST_DEADLINE_MS.
INBOX_COMMANDS_MAX = 4_096
#: Commands one gateway keeps waiting for one event, before it answers 503 `overloaded`.
LANE_COMMANDS_MAX = 4_096
#: Commands one gateway keeps waiting for all events together: bounds its memory.
GATEWAY_COMMANDS_MAX = 16_384
#: Commands decided in one turn. Bounds the journal entry to about 1 MiB and the time
#: that nothing else of the owner runs to about 10 ms.
TURN_COMMANDS_MAX = 2_048
#: Holds expired in one turn: 1 000 cost about 3 ms, so a mass expiry never stalls sales.
TURN_EXPIRIES_MAX = 1_000
#: From a request's arrival to its 503, milliseconds (part of the HTTP contract).
REQUEST_DEADLINE_MS = 5_000

# -- the journal -------------------------------------------------------------------

#: Time to wait for Redis before an append is in doubt, seconds. Longer than a slow
#: fsync (0.2 s), shorter than REQUEST_DEADLINE_MS so that a buyer still gets an answer.
REDIS_TIMEOUT_SECONDS = 3.0
#: Connections of one process to Redis. What is read beside the hot path takes a fraction
#: of a millisecond; whoever finds all of them in use waits, REDIS_TIMEOUT_SECONDS at most.
REDIS_CONNECTIONS_MAX = 16
#: Pause between attempts to reach Redis, seconds: first and longest. The longest keeps
#: "recovers within 10 s of Redis' return" with room to spare.
REDIS_RETRY_SECONDS_MIN = 0.05
REDIS_RETRY_SECONDS_MAX = 1.0
#: Entries fetched at once while replaying.
REPLAY_PAGE_ENTRIES = 256
#: Hash tags over which the keys of all events are spread; fixed for ever, because a
#: stored event could not be found under another number.
PARTITIONS = 64
#: A snapshot is written when this many records were journalled since the last one, or
#: half as many as there are bookings, whichever is more: recovery stays short and the
#: cost of snapshots stays a constant share of the work.
SNAPSHOT_RECORDS_MIN = 50_000
#: Bookings encoded before the turn loop gets its chance again: about 1 ms.
SNAPSHOT_SLICE_BOOKINGS = 1_000
#: Pause after each slice, seconds: leaves the owner to the sales while it snapshots.
SNAPSHOT_SLICE_PAUSE_SECONDS = 0.002
#: Snapshots kept: the newest and the one to fall back to.
SNAPSHOTS_KEPT = 2

# -- payments ----------------------------------------------------------------------

#: Cards that may fail on one booking before its stock is given to others; the event may
#: say otherwise.
PAYMENT_ATTEMPTS_MAX_DEFAULT = 3
PAYMENT_ATTEMPTS_LIMIT = 10
#: How long a hold whose time is up waits for Stripe to close its payment, milliseconds. A
#: call takes a second; longer would keep stock from buyers while Stripe is away.
PAYMENT_GRACE_MS = 30_000
#: Times that money without a ticket is sent back before an operator has to look at it.
RETURN_ATTEMPTS_MAX = 3
#: Unsettled payments shown at once: a reply of about 200 KiB.
UNSETTLED_PAGE = 500
#: Bytes of one webhook's body. Stripe's events are 3 to 10 KiB; metadata may double that.
WEBHOOK_BYTES_MAX = 262_144
#: Webhooks of one gateway that wait to be written, and those of one write: as many as
#: the store takes in a few milliseconds.
INBOX_WAITING_MAX = 4_096
INBOX_WRITE_MAX = 256
#: Pause after such a write, seconds, unless so many wait already: a write is forced to disk
#: between those of the holds, whatever it carries. A webhook that comes alone waits for
#: nothing; Stripe has no hurry, and buyers wait 10 ms longer on average.
INBOX_PAUSE_SECONDS = 0.02
INBOX_ENOUGH = 32
#: A buyer's request to pay waits so long for Stripe, milliseconds: longer than one call
#: and its repeat take, shorter than a browser's patience.
PAYMENT_DEADLINE_MS = 15_000
#: How often everything open is compared with Stripe, seconds: at 25 calls a second this
#: leaves room for 1 500 payments that wait at the same time.
RECONCILE_EVERY_SECONDS = 60.0
#: How far back payments and lost webhooks are looked for, seconds: longer than most holds
#: last, so that a list of a hundred tells of what would else be asked one by one; and at
#: the start as long as Stripe itself tries to deliver.
RECONCILE_LOOK_BACK_SECONDS = 900
RECONCILE_FIRST_LOOK_BACK_SECONDS = 3 * 86_400
#: A payment is given this long to report by itself, seconds, before Stripe is asked.
RECONCILE_YOUNGER_SECONDS = 20
#: Payments compared at once; the rate of calls has its own limit.
RECONCILE_AT_ONCE = 16
#: How often streams are rid of what every reader has finished, seconds.
STREAM_TRIM_SECONDS = 60.0
#: Bookings of a cancelled event seen to in one turn: about 5 ms.
CALL_OFF_BOOKINGS_MAX = 500

# -- owners ------------------------------------------------------------------------

#: How old the proof that no newer owner exists may be when a turn without records is
#: answered, ms. As old as any refusal may be: ten reads of the journal's head a second.
FENCE_CHECK_MS = 100
#: An owner without a command, a live hold or a near opening for this long goes to rest.
IDLE_SECONDS = 300
#: Owners are started this long before a scheduled opening.
WARM_UP_SECONDS = 60
#: The warden asks every owner this often, waits this long for the answer, and has an
#: owner killed that did not answer this many times: 1 + 2 x 2 + 2 s to restart < 10 s.
PROBE_EVERY_SECONDS = 1.0
PROBE_TIMEOUT_SECONDS = 2.0
PROBE_FAILURES_MAX = 2

# -- the gateway -------------------------------------------------------------------

#: Bytes of a request body. An event with 50 ticket types needs about 12 KiB.
BODY_BYTES_MAX = 65_536
#: Age of the availability from which a sold-out event may be refused, ms (part of the
#: HTTP contract). A grant always comes from the owner.
AVAILABILITY_AGE_MS_MAX = 100
#: An audit replays up to a million bookings, on a machine that has other things to do.
AUDIT_SECONDS_MAX = 120
#: Availability changes sent on one stream, at most, per second.
STREAM_CHANGES_PER_SECOND = 4
#: Silence after which a stream sends a comment, so that proxies keep it open, seconds.
STREAM_HEARTBEAT_SECONDS = 15
#: Streams open in one gateway process.
STREAMS_MAX = 2_000
#: Verified tokens remembered by one gateway: saves 20 microseconds a request.
TOKENS_REMEMBERED_MAX = 50_000
#: Known events remembered by one gateway.
EVENTS_REMEMBERED_MAX = 10_000

# -- consumers ---------------------------------------------------------------------

#: Longest that a read waits at the store for the first message, ms. Well below
#: REDIS_TIMEOUT_SECONDS, at which the connection would be given up with the answer on it.
STREAM_BLOCK_MS_MAX = 1_000
#: Messages of one partition handed out by one read. A read is one round trip for all
#: partitions: more would only fill memory, as each message costs its handler far more.
READ_MESSAGES_MAX = 32
#: Pause of a consumer after a read that found little, seconds: what comes in close
#: succession is then handled together, where each round costs a millisecond here and three
#: writes that the store forces to disk, between those of the holds. A message that comes
#: alone is read at once, others wait half as long on average.
CONSUMER_ROUND_SECONDS_MIN = 0.04
#: Messages that a consumer has in hand when it reads no more: bounds its memory, with
#: one read (PARTITIONS x READ_MESSAGES_MAX) on top, and what is handed out again after
#: it perished.
CONSUMER_MESSAGES_MAX = 512
#: The same with messages that wait for another attempt of their event: those do not keep
#: others from being read, until there are so many (about 10 MB).
CONSUMER_WAITING_MAX = 8_192
#: Events whose messages one consumer handles at once. They wait for the store, Ray or
#: Stripe, whose own limits are lower still.
CONSUMER_EVENTS_MAX = 32
#: Messages of one event in one call of the handler: well below BATCH_COMMANDS_MAX, as
#: one of them that fails has all of them tried again.
CONSUMER_BATCH_MAX = 64
#: Time for one call of the handler, seconds: longer than it may wait for Stripe. One that
#: never returns would hold up its event for ever, and nobody would know.
CONSUMER_HANDLE_SECONDS_MAX = 60.0
#: A message handed out so often is handed out alone from then on. The first two deaths of
#: a consumer may have any cause; from the third on, only the guilty message is counted.
DELIVERIES_TOGETHER_MAX = 2
#: A message handed out more often than this is buried unseen: alone, it has had a
#: consumer perish DELIVERIES_MAX - DELIVERIES_TOGETHER_MAX times.
DELIVERIES_MAX = 5
#: Failures of one message before it is buried; with the pauses below this takes nearly
#: four minutes, longer than the restart of anything that a handler needs.
ATTEMPTS_MAX = 12
#: Pause after a failure, seconds: first and longest, doubling in between.
ATTEMPT_PAUSE_SECONDS_MIN = 0.2
ATTEMPT_PAUSE_SECONDS_MAX = 60.0
#: What a consumer has not kept for this long is abandoned, and any other may take it.
ABANDONED_MS = 30_000
#: How often a consumer says what it has in hand, and looks for what is abandoned,
#: seconds: a third of ABANDONED_MS, so that one lost call is no matter.
KEEP_SECONDS = 10.0
#: Messages for which one script says so: well below a millisecond of the server's time.
HELD_PAGE_MESSAGES = 256
#: Undelivered messages counted one by one, where the server itself has lost count.
LAG_COUNTED_MAX = 10_000

# -- tickets -----------------------------------------------------------------------

#: Units of one booking: as many as one line may have, and fewer than the two digits by
#: which a ticket id tells the units of a booking apart can count (32 x 32).
BOOKING_UNITS_MAX = 1_000
#: Tickets in one PDF: a second of drawing. Whoever has more gets them one by one.
PDF_TICKETS_MAX = 100
#: Files of tickets drawn at once by one gateway. Drawing is Python's own work: a second
#: thread would not draw more, and sales would have to wait for two instead of one.
DRAWN_AT_ONCE_MAX = 1
#: Requests for files that may wait for that, before a gateway answers 503 `overloaded`: a
#: second of work.
DRAWINGS_WAITING_MAX = 32
#: Bytes of drawn files that one gateway keeps to give out again.
DRAWINGS_KEPT_BYTES = 16 * 1_048_576
