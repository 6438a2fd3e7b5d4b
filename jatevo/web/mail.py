"""How often jobs that send mail are tried again."""

from typing import Final

from procrastinate import RetryStrategy

# A mail server that is down for some hours delays mail and loses none: after 5 s, 25 s, 2, 10, 52 minutes, 4 h
MAIL_RETRIES: Final = RetryStrategy(max_attempts=7, exponential_wait=5)
