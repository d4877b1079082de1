"""The transitions of the table's rows, by subject: the new record and the outcomes of operations; pure.

Every transition takes the record, the event and the time (UNIX seconds), and returns a Decision. The state machine
begins the step that the row starts.
"""
