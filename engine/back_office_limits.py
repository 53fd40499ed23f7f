"""Every limit of what happens after a sale: books, messages, and webhooks to organizers.

As in `engine.limits`, units are the last word of each name, and nothing is read from the
environment.
"""

# -- clerk and books ---------------------------------------------------------------

#: How long a buyer's sealed contact waits beside the journal for its booking to be
#: confirmed, seconds: longer than Stripe goes on reporting a late payment. The back office
#: has taken it over by then, or it belongs to nobody.
CONTACT_KEPT_SECONDS = 7 * 86_400

#: Bookings whose holders are told of something that concerns them all, at a time.
HOLDERS_PAGE = 500
#: Time that the clerk spends on that in one go, seconds: well below CONSUMER_HANDLE_SECONDS_MAX,
#: and short enough that scans of the same event are entered in between.
HOLDERS_SECONDS = 15.0
#: Times within which scans belong together: of one ticket at two gates, too short for its
#: holder to walk; of forged codes by one operator, who sees so many where somebody tries.
TWO_GATES_WITHIN_MS = 60_000
FORGERIES_WITHIN_MS = 600_000
FORGERIES_SUSPICIOUS = 5

#: Pause of the clerk after a read that found little, seconds: nobody opens a mail sooner, and
#: each round costs writes that the store forces to disk between those of the holds.
CLERK_PAUSE_SECONDS = 0.5
#: Scans that the clerk enters at a time: one transaction, one question to their event's owner.
SCANS_TOGETHER_MAX = 256

# -- the database ------------------------------------------------------------------

#: Time for a connection, a statement or a lock of the database, seconds. What is asked there
#: takes milliseconds; whoever waits for it can be told to come back.
STORE_TIMEOUT_SECONDS = 5.0
#: Time for a whole transaction, seconds: longer than STORE_TIMEOUT_SECONDS, so that the
#: database's own word on what is wrong comes first.
STORE_DEADLINE_SECONDS = 7.0
#: How often messages are counted for operators, seconds: each look goes over all of them.
LETTERS_COUNTED_EVERY_SECONDS = 30.0
#: Connections of one process to the database. A transaction takes milliseconds, and
#: PostgreSQL grants a hundred connections to all processes together.
STORE_CONNECTIONS_MAX = 5
#: Time for all migrations together, seconds: large tables may have to be rewritten.
STORE_MIGRATION_SECONDS_MAX = 600.0
#: Rows copied at once from one database into another.
STORE_MOVE_ROWS = 500
#: Characters kept of what went wrong with a message.
STORE_ERROR_CHARS_MAX = 500

# -- messages ----------------------------------------------------------------------

#: Letters of one channel that the postman has in hand at once: more than a mail server takes
#: together, so that the next ones are drawn meanwhile. It asks for more when half of them are
#: gone.
POST_AT_ONCE_MAX = 64
#: For so long a letter is nobody else's, milliseconds: longer than all providers together
#: may hang, and a postman of the same name takes its own at once after a restart.
POST_LEASE_MS = 300_000
#: How often it looks for letters whose time has come, if nobody pokes it, seconds.
POST_POLL_SECONDS = 1.0
#: Attempts at a letter before it is given up, and the pause after the first, seconds; after
#: the second it is POST_PAUSE_FACTOR times as long. Servers that greylist want to be asked
#: again after five minutes at the latest.
POST_ATTEMPTS_MAX = 3
POST_PAUSE_SECONDS = 60.0
POST_PAUSE_FACTOR = 10
#: A channel that is away is left alone for so long, seconds, where it does not say itself.
POST_AWAY_SECONDS = 10.0
#: How often letters are looked for whose channel is set no more, seconds: an operator has
#: changed the settings.
POST_STRAYS_SECONDS = 60.0
#: How often confirmations are looked for of which an owner was not told, seconds, and how
#: many at once: some are only left when a process has died, or an owner.
POST_UNTOLD_SECONDS = 30.0
POST_UNTOLD_MAX = 1_000
#: Connections to one mail provider at once; providers commonly allow ten or twenty.
SMTP_CONNECTIONS_MAX = 8
#: Time for each step with a mail server, seconds. RFC 5321 would have minutes: a server that
#: needs them is one to leave for the next.
SMTP_TIMEOUT_SECONDS = 20.0
#: A provider that was away is left alone for so long, seconds.
SMTP_AWAY_SECONDS = 10.0
#: Short messages on their way to one service at once, each in a thread, and the time for each,
#: seconds: gateways for SMS take one or two.
PUSH_AT_ONCE_MAX = 8
PUSH_TIMEOUT_SECONDS = 10.0
#: A service that did not answer in time is left alone for so long, seconds.
PUSH_AWAY_SECONDS = 10.0

# -- webhooks to organizers --------------------------------------------------------

#: Endpoints of one organizer: a shop, a bookkeeper, a few tools. Each multiplies deliveries.
ENDPOINTS_MAX = 10
#: Characters of an endpoint's URL; proxies and servers take longer ones by luck only.
ENDPOINT_URL_LENGTH_MAX = 1_000
#: How long both secrets sign after one was replaced, milliseconds: a working day to deploy.
SECRET_OVERLAP_MS = 86_400_000
#: Secrets of one endpoint that sign at the same time; each makes the header longer.
SECRETS_MAX = 5
#: Endpoints served at once by one courier: so many may hang before others have to wait.
COURIER_ENDPOINTS_MAX = 64
#: Deliveries on their way to one endpoint: each is a connection to somebody else's server.
COURIER_PER_ENDPOINT_MAX = 8
#: Time for one attempt, from the look-up of the name to the end of the answer, seconds.
COURIER_ATTEMPT_SECONDS_MAX = 10.0
#: Part of that for the name, and for a connection to one of its addresses, seconds.
COURIER_RESOLVE_SECONDS_MAX = 4.0
COURIER_CONNECT_SECONDS_MAX = 3.0
#: Addresses of a name that are tried: one of each kind, and one to spare.
COURIER_ADDRESSES_MAX = 3
#: For so long a delivery is nobody else's, milliseconds: an attempt, and a database that
#: takes its time to note the end.
COURIER_LEASE_MS = 30_000
#: How often the database is asked for what is due while nothing else happens, seconds.
COURIER_POLL_SECONDS = 1.0
#: Pause after a failed attempt, seconds: first, factor to the next, and longest. A restart is
#: bridged in a minute, a weekend with fourteen attempts in all.
COURIER_PAUSE_SECONDS_MIN = 5.0
COURIER_PAUSE_FACTOR = 4
COURIER_PAUSE_SECONDS_MAX = 43_200.0
#: From a delivery's beginning to its last attempt, milliseconds: three days, as Stripe does.
COURIER_GIVE_UP_MS = 3 * 86_400_000
#: Bytes of an answer that are read; nobody looks at them.
COURIER_ANSWER_BYTES_MAX = 4_096
#: What is over stays in the log for so long, milliseconds: thirty days to replay it.
DELIVERIES_KEPT_MS = 30 * 86_400_000
#: Deliveries deleted in one write: it stays below a tenth of a second.
DELIVERIES_DELETED_MAX = 1_000
#: How often what is too old is deleted, seconds.
DELIVERIES_DELETED_EVERY_SECONDS = 3_600.0
