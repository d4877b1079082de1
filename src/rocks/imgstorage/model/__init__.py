"""The image's life as data and pure functions: no I/O, no clock; a test can try it all a million times.

How the NAS daemon is to use it, for each image by exactly one worker at a time:

    decision = machine.decide(image, event, now_seconds)
    if isinstance(decision, Refusal):            # changes nothing; is_stale: acknowledge the message and forget it
        answer(event.op_id, decision.family, decision.text)
    else:
        store.put(decision.image, decision.outcomes)    # one transaction, synced; image None: delete the row
        tell(decision.outcomes)                         # by op_id; kept, so that a client may ask again
        perform(decision.image)                         # while image.work is open and machine.is_ready(image)

    perform: effect = image.work.effects[image.work.position]
        an AskHost is sent to its host with (image_id, work.work_id, image.epoch), and the worker goes on to others; the
        host's answer is the event HostDone or HostFailed, and so is silence past STATES[state].answer_seconds.
        Any other effect is done here and now: EffectDone(work_id, position, facts) or EffectFailed(…, family, message).

When the daemon starts: every `steps.export_spec(image)` is made and exports of ours that are not wanted go; then each
image gets `Restarted()` and is performed, before the queue of messages is opened. A timer gives `RetryDue` and
`GraceOver` when `retry_at` and `due_at` have passed, and `StartSeed` or `StartPull` to what `schedule.choose` picks.
The NAS's end of a transfer asks `fencing.check_stream` before the first byte and again before what arrived counts; what
to send says `transfer_plan.plan_send`, asked by the sending side.

The host daemon, for each image one request at a time: `host_actions.check_order`; the same number as the last answered:
that answer again; else journal the request (it replaces an open one with a lower number), do what
`host_actions.sequence_for` says, in order, store the answer, send it. When it starts:
`rebuild_effects(known, open_request)`, then the open request again.
"""
