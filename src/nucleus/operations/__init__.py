"""What was asked for is done: workers claim stored operations and perform them step by step."""
