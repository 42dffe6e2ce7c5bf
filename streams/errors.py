"""Every error Refold raises on purpose.

RefoldError
├── Refused          bytes or values from outside that break the contract: HTTP 4xx, or a dead letter
├── SettingsError    the environment or a configuration file names something impossible
├── TopologyError    topics on the broker differ from the topology: the message names the mending command
├── StateError       a stored row, snapshot or offset cannot be trusted: the operator rebuilds it
└── Unavailable      a part that is needed (broker, replica) does not answer now: HTTP 503, try later
"""


class RefoldError(Exception):
    """Base of all errors that Refold raises on purpose."""


class Refused(RefoldError):  # noqa: N818 - a refusal is an answer, not a fault
    """A record or request from outside breaks the contract; the message names the value and the rule."""


class SettingsError(RefoldError):
    """A setting has an impossible value; the message names the setting."""


class TopologyError(RefoldError):
    """The broker's topics are not what the topology declares; the message says which command mends it."""


class StateError(RefoldError):
    """Stored state is broken or of another version; the message says how to rebuild it."""


class Unavailable(RefoldError):  # noqa: N818 - read aloud: "raise Unavailable"
    """A part that is needed does not answer at the moment."""
