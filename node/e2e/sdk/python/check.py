"""Checks the gateway at BASE_URL with both packages and exits 1 if a check fails."""

import anthropic_suite
import openai_suite
from lib import finish

openai_suite.suite()
anthropic_suite.suite()
finish()
