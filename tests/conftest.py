"""For all tests: Ctrl-C reaches the programs that they start, even where the tests themselves run in the background."""

import signal

# A shell without job control starts background work with SIGINT ignored, which programs inherit; a handler they do not.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
