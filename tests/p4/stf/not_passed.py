"""p4c's packet tests that the embedded switch does not pass, by the reason (`python -m tests.p4.stf` shows each)."""

_BY_REASON = {
    "its byte counts take each packet for 4 bytes longer than it is, and BMv2 does not, either": """
        counter3
    """,
    "an extern function of its own: p4c-bm2-ss does not compile it": """
        extern-funcs-bmv2
    """,
}
NOT_PASSED = {name: reason for reason, names in _BY_REASON.items() for name in names.split()}
