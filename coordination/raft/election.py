"""Elections: how a term gets its one leader, and how a leader gives way.

Rules:
* One vote a term, to a candidate whose log is at least as complete, and it leaves only when it is stored.
* A pre-vote asks without starting a term: a replica that was cut off does not disturb the others when it comes back.
* With check-quorum, who heard from a leader within an election timeout votes for nobody; and a leader that heard from
  no quorum for as long steps down. A transfer of leadership by the leader's own wish is exempt.
* A replica with an unapplied change of members does not campaign: it may count the wrong majority.
* Learners vote when asked: who asks may know of their promotion before they do.

Sources: Ongaro 2014, sections 3.4, 3.6.1, 3.10, 4.2.3, 6.2, 9.6; etcd-io/raft.
"""

from coordination.quorum import VoteResult
from coordination.raft.messages import AppendReply, TimeoutNow, VoteReply, VoteRequest
from coordination.raft.node import DEBUG, ERROR, INFO, WARN, Node, Role
from coordination.raft.replication import broadcast_append, send_append


def hup(node: Node, *, transfer: bool = False) -> None:
    """Campaigns, if it may."""
    if node.role is Role.LEADER:
        if node.say:
            node.say(DEBUG, f"{node.id:x} ignoring MsgHup because already leader")
        return
    if not node.promotable or node.log.incoming is not None:
        if node.say:
            node.say(WARN, f"{node.id:x} is unpromotable and can not campaign")
        return
    if _has_unapplied_change(node):
        if node.say:
            node.say(
                WARN,
                f"{node.id:x} cannot campaign at term {node.term} since there are still pending "
                "configuration changes to apply",
            )
        return
    if node.say:
        node.say(INFO, f"{node.id:x} is starting a new election at term {node.term}")
    campaign(node, pre=node.options.pre_vote and not transfer, transfer=transfer)


def _has_unapplied_change(node: Node) -> bool:
    log = node.log
    entries = log.entries[log.applied - log.base : log.committed - log.base]
    return any(entry.change is not None for entry in entries)


def campaign(node: Node, *, pre: bool, transfer: bool = False) -> None:
    """Asks all voters for their vote, oneself among them."""
    if pre:
        node.become_pre_candidate()
        term = node.term + 1
    else:
        node.become_candidate()
        term = node.term
    log = node.log
    name = "MsgPreVote" if pre else "MsgVote"
    for voter in node.members.all_voters:
        if voter == node.id:
            node.send_after(voter, VoteReply(term, pre))
            continue
        if node.say:
            node.say(
                INFO,
                f"{node.id:x} [logterm: {log.last_term}, index: {log.last}] sent {name} request to "
                f"{voter:x} at term {node.term}",
            )
        node.send(voter, VoteRequest(term, log.last, log.last_term, pre, transfer))


def lease_holds(node: Node, source: int, message: VoteRequest) -> bool:
    """Whether a request for a vote in a later term is ignored, because a leader is heard of."""
    if message.transfer:
        return False
    leased = (
        node.options.check_quorum
        and node.leader != 0
        and node.now < node.election_start + node.options.election_s
    )
    if not leased and node.now >= node.no_vote_until:
        return False
    if node.say:
        log = node.log
        left = int(node.options.election_s - (node.now - node.election_start))
        node.say(
            INFO,
            f"{node.id:x} [logterm: {log.last_term}, index: {log.last}, vote: {node.vote:x}] ignored "
            f"{_name(message)} from {source:x} [logterm: {message.log_term}, index: {message.index}] "
            f"at term {node.term}: lease is not expired (remaining ticks: {left})",
        )
    return True


def on_vote_request(node: Node, source: int, message: VoteRequest) -> None:
    """A candidate asks; its term is not behind."""
    log = node.log
    may = (
        node.vote == source
        or (node.vote == 0 and node.leader == 0)
        or (message.pre and message.term > node.term)
    )
    grant = may and log.is_up_to_date(message.index, message.log_term)
    if node.say:
        verb, word = ("cast", "for") if grant else ("rejected", "from")
        node.say(
            INFO,
            f"{node.id:x} [logterm: {log.last_term}, index: {log.last}, vote: {node.vote:x}] {verb} "
            f"{_name(message)} {word} {source:x} [logterm: {message.log_term}, index: {message.index}] "
            f"at term {node.term}",
        )
    if not grant:
        node.send_after(source, VoteReply(node.term, message.pre, True))
        return
    # In the term of the request: a candidate for a later term ignores answers of ours.
    node.send_after(source, VoteReply(message.term, message.pre))
    if not message.pre:
        node.election_start = node.now
        node.vote = source


def reject_old_pre_vote(node: Node, source: int, message: VoteRequest) -> None:
    """A pre-candidate is behind: it must learn of the present term, or it may ask for ever."""
    if node.say:
        log = node.log
        node.say(
            INFO,
            f"{node.id:x} [logterm: {log.last_term}, index: {log.last}, vote: {node.vote:x}] rejected "
            f"{_name(message)} from {source:x} [logterm: {message.log_term}, index: {message.index}] "
            f"at term {node.term}",
        )
    node.send_after(source, VoteReply(node.term, True, True))


def on_vote_reply(node: Node, source: int, message: VoteReply) -> None:
    """A candidate hears a voter, or itself."""
    if message.pre != (node.role is Role.PRE_CANDIDATE):
        return
    name = "MsgPreVoteResp" if message.pre else "MsgVoteResp"
    node.votes.setdefault(source, not message.rejected)
    if node.say:
        refusal = " rejection" if message.rejected else ""
        node.say(INFO, f"{node.id:x} received {name}{refusal} from {source:x} at term {node.term}")
        counted = [
            node.votes[one] for one, its in node.progress.items() if one in node.votes and not its.learner
        ]
        yes = sum(counted)
        node.say(
            INFO,
            f"{node.id:x} has received {yes} {name} votes and {len(counted) - yes} vote rejections",
        )
    result = node.members.quorum.vote_result(node.votes)
    if result is VoteResult.WON:
        if message.pre:
            campaign(node, pre=False)
        else:
            node.become_leader()
            broadcast_append(node)
    elif result is VoteResult.LOST:
        node.become_follower(node.term, 0)


def _name(message: VoteRequest) -> str:
    return "MsgPreVote" if message.pre else "MsgVote"


# --- A leader gives way -----------------------------------------------------------------------------------------


def check_quorum(node: Node) -> None:
    """A leader that heard from no quorum since it last asked itself steps down."""
    active = {member: progress.active for member, progress in node.progress.items() if not progress.learner}
    peers = node.peers
    if node.members.quorum.vote_result(active) is not VoteResult.WON:
        if node.say:
            node.say(WARN, f"{node.id:x} stepped down to follower since quorum is not active")
        node.become_follower(node.term, 0)
    for _, progress in peers:
        progress.active = False


def transfer_leadership(node: Node, to: int) -> None:
    """A leader hands over, once the other's log is complete."""
    progress = node.progress.get(to)
    if progress is None:
        if node.say:
            node.say(DEBUG, f"{node.id:x} no progress available for {to:x}")
        return
    if progress.learner:
        if node.say:
            node.say(DEBUG, f"{node.id:x} is learner. Ignored transferring leadership")
        return
    if node.transferee:
        if node.transferee == to:
            if node.say:
                node.say(
                    INFO,
                    f"{node.id:x} [term {node.term}] transfer leadership to {to:x} is in progress, "
                    f"ignores request to same node {to:x}",
                )
            return
        if node.say:
            node.say(
                INFO,
                f"{node.id:x} [term {node.term}] abort previous transferring leadership to {node.transferee:x}",
            )
        node.transferee = 0
    if to == node.id:
        if node.say:
            node.say(DEBUG, f"{node.id:x} is already leader. Ignored transferring leadership to self")
        return
    if node.say:
        node.say(INFO, f"{node.id:x} [term {node.term}] starts to transfer leadership to {to:x}")
    node.election_start = node.now
    node.transferee = to
    # The other may be elected from now on, and as late as a message may be: no more leases in this term.
    node.lease_allowed = False
    if progress.match == node.log.last:
        node.send(to, TimeoutNow(node.term))
        if node.say:
            node.say(
                INFO,
                f"{node.id:x} sends MsgTimeoutNow to {to:x} immediately as {to:x} already has up-to-date log",
            )
    else:
        send_append(node, to, progress, True)


def forget_leader(node: Node) -> None:
    """A follower may vote at once."""
    if node.role is not Role.FOLLOWER:
        return
    if node.options.lease_reads:
        if node.say:
            node.say(ERROR, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased")
        return
    if node.leader:
        if node.say:
            node.say(INFO, f"{node.id:x} forgetting leader {node.leader:x} at term {node.term}")
        node.leader = 0


def answer_old_leader(node: Node, source: int) -> None:
    """A leader of an earlier term still speaks: it must learn of this one, or neither gets on."""
    node.send_after(source, AppendReply(node.term, 0))
