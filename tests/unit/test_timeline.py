"""Timelines: what is noted, by which thread, and how it is drawn."""

import threading

from ps3d_core.timeline import Activity, Timeline, activity, busy_share, recorded, timeline_text


def test_activities_of_all_threads_are_noted_while_somebody_records():
    def work():
        with activity("read"):
            pass

    work()
    with recorded() as timeline:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with activity("network"):
            pass
    work()
    assert [each.name for each in timeline.activities] == ["read", "network"]
    assert all(0 <= each.begin <= each.end <= timeline.seconds for each in timeline.activities)


def test_time_that_activities_share_counts_once():
    activities = [Activity("a", 0.0, 2.0), Activity("a", 1.0, 3.0), Activity("a", 7.0, 20.0)]
    assert busy_share(activities, 0.0, 10.0) == 0.6
    assert busy_share(activities, 3.0, 7.0) == 0.0
    assert busy_share([], 0.0, 0.0) == 0.0


def test_picture():
    timeline = Timeline()
    timeline.activities = [Activity("read", 0.0, 1.0), Activity("network", 1.0, 4.0), Activity("write", 3.75, 4.0)]
    timeline.seconds = 4.0
    assert timeline_text(timeline, 4).splitlines() == [
        "read        |#   |  25 %",
        "network     | ###|  75 %",
        "write       |   .|   6 %",
    ]
