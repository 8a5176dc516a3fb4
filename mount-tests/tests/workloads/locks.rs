//! flock(1) between processes.

use mount_tests::programs::sh;
use mount_tests::same_as_tmpfs;

#[test]
fn no_count_is_lost_under_a_lock() {
    let script = "
        echo 0 > count
        for process in 1 2 3 4; do
            for round in $(seq 25); do
                flock lock sh -c 'read n < count; echo $((n + 1)) > count'
            done &
        done
        wait; cat count";
    same_as_tmpfs(|root| {
        let count = sh(root, script);
        assert_eq!(count, "100\n");
        count
    });
}

#[test]
fn a_lock_keeps_others_out_until_its_holder_dies() {
    let script = "
        (flock 9; : > held; exec sleep 100) 9> lock & holder=$!
        until test -e held; do sleep 0.01; done
        flock --nonblock lock true || echo refused $?
        flock --shared --nonblock lock true || echo refused $?
        kill $holder; flock --wait 60 lock echo free
        flock --shared lock flock --shared --nonblock lock echo shared
        flock --shared lock flock --nonblock lock true || echo refused $?";
    same_as_tmpfs(|root| {
        let said = sh(root, script);
        assert_eq!(said, "refused 1\nrefused 1\nfree\nshared\nrefused 1\n");
        said
    });
}
