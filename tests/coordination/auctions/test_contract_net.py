"""The contract net, event by event."""

from collections.abc import Mapping

from coordination.auctions.contract_net import Act, Initiator, Participant, Phase, Said


def cheapest(proposals: Mapping[str, float]) -> list[str]:
    return sorted(proposals, key=lambda name: (proposals[name], name))


def initiator(*names: str) -> Initiator:
    return Initiator(list(names), deadline=10, patience=5, rank=cheapest)


def proposed(contract: Initiator, **prices: float) -> list[Said]:
    return [
        said
        for name, price in prices.items()
        for said in contract.handle(Said(name, Act.PROPOSE, price), now=1)
    ]


def test_a_contract_takes_three_messages_a_participant_and_one() -> None:
    contract = initiator("a", "b", "c", "d")
    said = [*contract.call(), *proposed(contract, a=4, b=2, c=3, d=9)]
    assert contract.winner == "b"
    said += contract.handle(Said("b", Act.INFORM, "done"), now=3)
    assert contract.phase == Phase.DONE
    assert contract.result == "done"
    assert len(said) + 4 + 1 == 3 * 4 + 1  # with four proposals and a report
    assert [one.whom for one in said if one.act == Act.REJECT] == ["c", "a", "d"]


def test_who_refuses_or_is_silent_does_not_hold_the_others_up() -> None:
    contract = initiator("a", "b", "c")
    proposed(contract, a=4)
    contract.handle(Said("b", Act.REFUSE), now=2)
    assert contract.phase == Phase.CALLING
    assert contract.tick(9) == []
    assert contract.tick(10) == [Said("a", Act.ACCEPT, 15)]
    assert contract.handle(Said("c", Act.PROPOSE, 1), now=11) == [Said("c", Act.REJECT)]


def test_the_award_passes_on_when_the_winner_fails_and_when_it_is_late() -> None:
    contract = initiator("a", "b", "c")
    proposed(contract, a=1, b=2, c=3)
    assert contract.handle(Said("a", Act.FAILURE), now=2) == [Said("b", Act.ACCEPT, 7)]
    assert contract.tick(6) == []
    assert contract.tick(7) == [Said("b", Act.REJECT), Said("c", Act.ACCEPT, 12)]
    assert contract.handle(Said("b", Act.INFORM, "late"), now=8) == []
    assert contract.handle(Said("c", Act.REFUSE), now=8) == []
    assert contract.phase == Phase.FAILED


def test_a_report_at_the_end_of_the_award_is_too_late() -> None:
    contract = initiator("a", "b")
    proposed(contract, a=1, b=2)
    assert contract.handle(Said("a", Act.INFORM, "done"), now=6) == []
    assert contract.phase == Phase.AWARDED
    assert contract.tick(6) == [Said("a", Act.REJECT), Said("b", Act.ACCEPT, 11)]
    contract.handle(Said("b", Act.INFORM, "done"), now=10)
    assert contract.phase == Phase.DONE


def test_what_is_said_twice_changes_nothing() -> None:
    contract = initiator("a", "b")
    proposed(contract, a=1)
    assert proposed(contract, a=5) == []
    assert contract.proposals == {"a": 1}
    proposed(contract, b=2)
    assert proposed(contract, a=1, b=2) == []
    contract.handle(Said("a", Act.INFORM, 1), now=2)
    assert contract.handle(Said("a", Act.INFORM, 2), now=2) == []
    assert contract.handle(Said("a", Act.FAILURE), now=2) == []
    assert contract.result == 1


def test_without_a_proposal_the_contract_fails_at_the_deadline() -> None:
    contract = initiator("a")
    contract.tick(10)
    assert contract.phase == Phase.FAILED


def test_a_participant_holds_an_award_until_its_time_and_reports_once() -> None:
    participant = Participant()
    assert participant.call(None) == Act.REFUSE
    assert participant.call(3) == Act.PROPOSE
    assert participant.handle(Said("i", Act.ACCEPT, 5), now=5) == Act.REFUSE
    assert participant.handle(Said("i", Act.ACCEPT, 9), now=5) is None
    assert participant.holds(8)
    assert not participant.holds(9)
    assert participant.report(8, done=True) == Act.INFORM
    assert participant.report(8, done=True) is None


def test_a_participant_lets_go_of_what_is_taken_from_it() -> None:
    participant = Participant()
    participant.handle(Said("i", Act.ACCEPT, 9), now=5)
    participant.handle(Said("i", Act.REJECT), now=6)
    assert not participant.holds(6)
    assert participant.report(7, done=True) is None


def test_one_at_a_time_holds_the_award_whatever_is_lost_or_late() -> None:
    contract = initiator("a", "b")
    participants = {"a": Participant(), "b": Participant()}
    said = proposed(contract, a=1, b=2)
    for now in range(1, 20):
        for one in said:
            if one.act == Act.ACCEPT:  # all rejections are lost
                participants[one.whom].handle(one, now)
        assert sum(participant.holds(now) for participant in participants.values()) <= 1
        said = contract.tick(now + 1)
