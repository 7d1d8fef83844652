"""What the tests of the streams environment share."""

import scipy.linalg  # noqa: F401 - which has a BLAS of its own
from threadpoolctl import threadpool_limits

# As encoders hold it. Threads of BLAS wait for each other in busy loops: beside other work, which
# tests have, they take ten times as long.
threadpool_limits(1)
