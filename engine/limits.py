"""Every limit of sales and doors, with its reason and its relation to the others.

Those of what happens after a sale are in `engine.back_office_limits`. Units are the last word
of each name. Nothing here is read from the environment: what an operator may change is in
`gateway.settings`.
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
#: Calls that one gateway has under way for all its events together. Owners that share a few
#: cores are cold when their turn comes, and a call costs them milliseconds, whatever it
#: carries: events take turns, and each gathers until its own. One hot event needs two.
CALLS_AT_ONCE = 5
#: A call that takes longer keeps no turn from others, seconds: its owner may be starting.
CALL_TURN_SECONDS = 0.1
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
#: How long a list waits for the owner of each event in it, milliseconds: most restarts take
#: less. What cannot be read by then is named, and does not keep the others from being shown.
LIST_DEADLINE_MS = 2_500

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
#: Refunds of one booking whose keys are remembered beside the last one's. A booking of
#: ordinary size cannot be given back in more parts; each costs some 40 bytes.
REFUNDS_REMEMBERED_MAX = 100
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
#: nothing; Stripe has no hurry, and buyers wait 20 ms longer on average.
INBOX_PAUSE_SECONDS = 0.04
INBOX_ENOUGH = 32
#: A buyer's request to pay waits so long for Stripe, milliseconds: longer than one call
#: and its repeat take, shorter than a browser's patience.
PAYMENT_DEADLINE_MS = 15_000
#: A hold lives at least so long from its buyer's first request to pay, milliseconds, while
#: Stripe has not answered: as long as that request and a repeat of it wait, the way to the
#: owner and back included. Longer would keep stock from buyers while Stripe is away.
PAYMENT_OPENING_MS = 2 * PAYMENT_DEADLINE_MS
#: How often everything open is compared with Stripe, seconds: at 25 calls a second this
#: leaves room for 1 500 payments that wait at the same time.
RECONCILE_EVERY_SECONDS = 60.0
#: How far back payments and lost webhooks are looked for, seconds, from the last comparison
#: that succeeded: longer than most holds last, so that a list of a hundred tells of what would
#: else be asked one by one; and at the start as long as Stripe itself tries to deliver.
RECONCILE_LOOK_BACK_SECONDS = 900
#: How often that is done from further back, and from how far, seconds: longer than the longest
#: hold, its grace and the pause until the next time, so that every payment is seen once more
#: after it has ended. At 25 payments a second, without a pause, that is 80 s of lists.
RECONCILE_WIDE_EVERY_SECONDS = 3_600
RECONCILE_WIDE_LOOK_BACK_SECONDS = 8_100
#: Stripe's events of money that goes back are looked at from so long before the last time,
#: seconds: an event may come into the list a while after it was made, and clocks differ.
RECONCILE_EVENTS_OVERLAP_SECONDS = 300
#: Stripe's events that a payment desk remembers to have taken in: those of 25 refunds a second,
#: three for each, in the time above and a pause. One that is forgotten is looked at twice.
RECONCILE_EVENTS_REMEMBERED_MAX = 50_000
RECONCILE_FIRST_LOOK_BACK_SECONDS = 3 * 86_400
#: A payment is given this long to report by itself, seconds, before Stripe is asked.
RECONCILE_YOUNGER_SECONDS = 20
#: Payments compared at once; the rate of calls has its own limit.
RECONCILE_AT_ONCE = 16
#: Events whose owners are asked at once: one that rests is woken for it, which takes a second.
RECONCILE_EVENTS_AT_ONCE = 8
#: Payments in quarantine that a payment desk remembers to have counted: more than anybody
#: would look at one by one.
QUARANTINED_REMEMBERED_MAX = 10_000
#: How often streams are rid of what every reader has finished, seconds.
STREAM_TRIM_SECONDS = 60.0
#: Bookings of a cancelled event seen to in one turn: about 5 ms.
CALL_OFF_BOOKINGS_MAX = 500

# -- owners ------------------------------------------------------------------------

#: How old the proof that no newer owner exists may be when a turn without records is
#: answered, ms. As old as any refusal may be: ten reads of the journal's head a second.
FENCE_CHECK_MS = 100
#: An owner without a command, a live hold or a near opening for this long goes to rest. What
#: the product itself asks every minute is no command in this sense.
IDLE_SECONDS = 300
#: Owners are started this long before a scheduled opening.
WARM_UP_SECONDS = 60
#: Cores for a scheduled opening are asked for this long before, and kept this long after it,
#: seconds: a machine in a cloud takes minutes to start, and a rush is over in a quarter of an hour.
PRESCALE_BEFORE_SECONDS = 900
PRESCALE_AFTER_SECONDS = 900
PRESCALE_LOOK_SECONDS = 30.0
#: The warden asks every owner this often, waits this long for the answer, asks at once again,
#: and has an owner killed that did not answer this many times: 1 + 2 x 2 + 2 s to restart < 10 s.
PROBE_EVERY_SECONDS = 1.0
PROBE_TIMEOUT_SECONDS = 2.0
PROBE_FAILURES_MAX = 2
#: How long a call waits for Ray to name the owner's process, seconds: shorter than
#: PROBE_TIMEOUT_SECONDS, so that Ray's silence is not taken for the owner's.
HANDLE_SECONDS_MAX = 1.0
#: Owners that one process looks up or starts at once. A look-up takes a millisecond; while
#: Ray's control service is away each has a thread that hangs.
HANDLE_LOOKUPS_MAX = 8
#: Bytes of one message between processes of a machine: ten times a reply to the largest batch.
SHORTCUT_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
#: An owner that answers nothing for so long is asked the long way whether it is still the
#: one, seconds: longer than a slow fsync (0.2 s), shorter than REQUEST_DEADLINE_MS.
SHORTCUT_SILENCE_SECONDS = 1.0
#: Ray's thread of an owner sleeps so long at a time while batches come past it, seconds: what
#: comes by Ray waits as long at most. Then it does what has come meanwhile, and sleeps on at its
#: first look for signals after so long, of which there are a hundred a second. It does so until
#: no batch has come past it for so long; and not at all until none has come by Ray for so long,
#: from a gateway on another machine.
PARKED_SECONDS = 0.5
PARKING_PAUSE_SECONDS = 0.005
PARKING_LASTS_SECONDS = 2.0
PARKING_QUIET_SECONDS = 10.0

# -- the gateway -------------------------------------------------------------------

#: Bytes of a request body. An event with 50 ticket types needs about 12 KiB.
BODY_BYTES_MAX = 65_536
#: Bytes of a request around its body: its head, sizes of chunks, trailers. Browsers and
#: proxies send a few KiB; two or three times as much as this is refused for sure.
REQUEST_HEAD_BYTES_MAX = 65_536
#: From a request's first byte to its last, seconds: BODY_BYTES_MAX at the pace of a bad mobile
#: connection. Whoever is slower would keep a connection from others for nothing.
REQUEST_READ_SECONDS = 10
#: How long a connection on which nothing is asked stays open, seconds: longer than the 60 s
#: of common load balancers, so that they close first and lose no request.
CONNECTION_IDLE_SECONDS = 75
#: How long a client may take nothing of what was written to it, seconds, before it is cut off.
CONNECTION_STUCK_SECONDS = 30
#: Connections of one gateway process: each is some 10 KiB. FILES_RESERVED of those that the
#: process may open are for the store, Ray, the database and Stripe.
CONNECTIONS_MAX = 65_536
FILES_RESERVED = 256
#: Where there is no room for another connection, this share of all gives way: those that have
#: waited longest for their clients. Finding them takes a millisecond for each few thousand.
CONNECTIONS_GIVE_WAY_SHARE = 0.05
#: Age of the availability from which a sold-out event may be refused, ms (part of the
#: HTTP contract). A grant always comes from the owner.
AVAILABILITY_AGE_MS_MAX = 100
#: An audit replays up to a million bookings, on a machine that has other things to do.
AUDIT_SECONDS_MAX = 120
#: For so long an audit lets the journal and the books of the Stripe sandbox differ, seconds: a
#: webhook and its way through the inbox take well below one, behind a busy sale a few.
AUDIT_NEWS_SECONDS = 10.0
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

# -- operators ---------------------------------------------------------------------

#: How often a gateway asks what operators have set, seconds: a stop is everywhere within one.
CONTROLS_EVERY_SECONDS = 0.5
#: A gateway that has not asked for so long has gone, ms: its share of a pace is the others'.
CONTROLS_GATEWAY_GONE_MS = 3_000
#: Slowest and fastest pace that can be set, holds per second: below is a stop, above is none.
HOLDS_PER_SECOND_MIN = 0.1
HOLDS_PER_SECOND_MAX = 1_000_000.0
#: Characters of a reason: a sentence or two, and the number of an incident.
CONTROLS_REASON_LENGTH_MAX = 500
#: Events that operators see one by one: each is a handful of series on the metrics page.
HOT_EVENTS_MAX = 20
#: How long what the warden said of them is shown, seconds: a restart of it, and some.
PULSES_KEPT_SECONDS = 15
#: Turns over which an owner's p99 is taken: some seconds of a sale; sorted in 0.1 ms.
TURNS_REMEMBERED_MAX = 1_024
#: How often the metrics page asks what they do, and how far readers of streams are behind,
#: seconds. The latter is a script for each partition and group: 10 ms of the store.
PULSES_EVERY_SECONDS = 1.0
LAG_EVERY_SECONDS = 10.0
#: Longest that the metrics page waits for the store, seconds: well below a scrape's patience.
SCRAPE_WAIT_SECONDS = 0.5
#: Changes in the log, about: years of them, and a megabyte.
CONTROLS_CHANGES_KEPT = 10_000
#: How often a back office asks how many of them there are to be, seconds: for so long after a
#: change two may read the same partition, or nobody.
OFFICES_LOOK_SECONDS = 1.0
#: A back office whose place is no more, and which Ray has not let go for so long, ends by
#: itself, seconds, and is started again: its place may be needed again by then.
OFFICES_LEAVE_SECONDS_MAX = 10.0

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
#: alone is read at once, others wait half as long on average. At 100 payments a second, holds
#: keep 87 % of their rate with this pause, 83 % with half of it.
CONSUMER_PAUSE_SECONDS = 0.08
#: The same for the steps at Stripe that effects ask for: each takes longer than this.
PURSUIT_PAUSE_SECONDS = 0.1
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

# -- doors -------------------------------------------------------------------------

#: Scans whose answer an owner remembers word for word: two minutes of thirty busy gates. A
#: repeat that comes later finds its passage, if there was one, in the ticket itself.
SCANS_REMEMBERED_MAX = 4_096
#: Undone passages whose answer an owner remembers. What is sent to it again after its death is
#: what gateways had under way: at most BATCHES_IN_FLIGHT_MAX x BATCH_COMMANDS_MAX each, so that
#: four of them may have been asked for nothing else.
UNDOS_REMEMBERED_MAX = 4_096
#: Passages kept of one ticket: its first and the last ones. More go in and out only where
#: the smokers are, and the log of scans has them all.
PASSAGES_KEPT_MAX = 16
#: Scans of one upload of an offline scanner: a body of about BODY_BYTES_MAX.
OFFLINE_SCANS_MAX = 250
#: Tickets of one page of a manifest: 20 ms for their codes, an answer of half a megabyte.
MANIFEST_MAX = 1_000

# -- tickets -----------------------------------------------------------------------

#: Units of one booking: as many as one line may have, and fewer than the two digits by
#: which a ticket id tells the units of a booking apart can count (32 x 32).
BOOKING_UNITS_MAX = 1_000
#: Tickets in one PDF: a second of drawing. Whoever has more gets them one by one.
PDF_TICKETS_MAX = 100
#: Files of tickets drawn at once by one gateway. Drawing is Python's own work: a second
#: thread would not draw more, and sales would have to wait for two instead of one.
DRAWN_AT_ONCE_MAX = 1
#: Longest that the back office waits for one file, seconds, before it takes whoever draws it for
#: frozen: PDF_TICKETS_MAX take minutes on a full machine. Less than POST_LEASE_MS.
DRAWING_SECONDS_MAX = 240
#: Requests for files that may wait for that, before a gateway answers 503 `overloaded`: a
#: second of work.
DRAWINGS_WAITING_MAX = 32
#: Bytes of drawn files that one gateway keeps to give out again.
DRAWINGS_KEPT_BYTES = 16 * 1_048_576

#: Pause between two mails with the tickets of one booking that somebody asks for, seconds:
#: mails take about as long to arrive, and nobody's mailbox is to be filled by a button.
RESEND_SECONDS = 60
