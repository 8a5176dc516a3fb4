//! make: a nanosecond decides.

use mount_tests::programs::sh;
use mount_tests::same_as_tmpfs;

#[test]
fn a_chain_is_made_again_from_where_it_is_out_of_date() {
    let script = "
        for n in $(seq 20); do printf 's%d: s%d\\n\\tcp $< $@\\n' $n $((n - 1)) > rule$n; done
        { echo all: s20; cat $(seq -f rule%g 20); } > Makefile
        echo source > s0; touch -d @1700000000 s0; make -s all; cmp s0 s20
        age() { touch -d \"2024-01-01 00:00:00.0000000$1 UTC\" s$2; }
        for n in $(seq 0 20); do age $((n + 10)) $n; done
        make -q all; echo up to date
        age 22 11; age 21 12; make -n all
        make -s all; make -q all; echo up to date again";
    same_as_tmpfs(|root| {
        let said = sh(root, script);
        assert_eq!(said.matches("cp ").count(), 9, "{said}");
        said
    });
}
