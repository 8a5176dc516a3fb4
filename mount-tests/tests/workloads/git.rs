//! git: what its history is made of does not depend on the filesystem.

use mount_tests::programs::sh;
use mount_tests::same_as_tmpfs;

#[test]
fn a_history_has_the_ids_it_has_on_tmpfs() {
    let script = "
        export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
        git() { command git -c user.name=t -c user.email=t@t -c safe.directory='*' -c gc.auto=0 \\
            -c maintenance.auto=false -c protocol.file.allow=always \"$@\"; }
        git init -q -b main first; cd first
        for n in $(seq 60); do mkdir -p d$((n % 5)); seq $n > d$((n % 5))/f$n; done
        ln -s d1/f1 link; chmod +x d2/f2; git add .; git commit -qm One
        git checkout -qb side; git mv d1 e1; git commit -qm Move
        git checkout -q main; echo more >> d1/f6; git commit -qam More
        git merge -q --no-edit side; git rebase -q side main
        git worktree add -q ../tree side; git -C ../tree status --porcelain
        git stash list; echo dirty > d2/f2; git stash -q; git stash pop -q; git diff --stat
        git checkout -q .; git gc -q; git fsck --strict
        git clone -q --no-local . ../clone; git clone -q . ../linked; cd ../clone
        git fsck --strict; git status --porcelain; git log --format=%H --all; git ls-files -s | sha256sum";
    same_as_tmpfs(|root| sh(root, script));
}
