"""p4c's packet tests that the embedded switch does not pass, by the reason (`python -m tests.p4.stf` shows each)."""

_BY_REASON = {
    "fields above 64 bits": """
        07-MultiProtocol exact_match4 exact_match5 gauntlet_action_return-bmv2 gauntlet_exit_combination_14-bmv2
        gauntlet_switch_nested_table_apply-bmv2 ipv6-switch-ml-bmv2 parser_dc_full
    """,
    "varbit": """
        checksum-l4-bmv2 checksum1-bmv2 equality-bmv2 equality-varbit-bmv2 issue1025-bmv2 issue1879-bmv2
        issue447-1-bmv2 issue447-2-bmv2 issue447-3-bmv2 issue447-4-bmv2 issue447-5-bmv2 issue447-bmv2
        test-parserinvalidargument-error-bmv2
    """,
    "its byte counts take each packet for 4 bytes longer than it is; p4c's own runner does not look at counters": """
        counter3
    """,
    "an extern function of its own: p4c-bm2-ss does not compile it": """
        extern-funcs-bmv2
    """,
    "headers chosen by ?:": """
        gauntlet_mux_hdr-bmv2 gauntlet_mux_validity-bmv2
    """,
    "header unions": """
        header-bool-bmv2 issue561-1-bmv2 issue561-2-bmv2 issue561-3-bmv2 issue561-4-bmv2 issue561-5-bmv2
        issue561-6-bmv2 issue561-7-bmv2 union-bmv2 union-valid-bmv2 union1-bmv2 union2-bmv2 union3-bmv2
    """,
}
NOT_PASSED = {name: reason for reason, names in _BY_REASON.items() for name in names.split()}
