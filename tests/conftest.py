"""For all tests: Ctrl-C reaches the programs that they start, even where the tests themselves run in the background;
and one thread each, as tasks have it, for sums over two have other bits.
"""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"

# A shell without job control starts background work with SIGINT ignored, which programs inherit; a handler they do not.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
