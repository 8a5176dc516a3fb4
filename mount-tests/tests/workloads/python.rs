//! python: compiled modules that know the time and size of their source.

use mount_tests::programs::sh;
use mount_tests::same_as_tmpfs;

#[test]
fn compiled_modules_are_used_until_the_source_changes() {
    let script = "
        mkdir -p package/inner
        for name in package/__init__ package/inner/__init__ package/inner/part; do
            echo 'WORD = \"old\"' > $name.py; touch -d @1700000000 $name.py
        done
        word() { python3 -Bvc 'import package.inner.part as part; print(part.WORD)' 2> log; grep -c 'matches .*/package/' log; }
        python3 -m compileall -q package; find . -name '*.pyc' | wc -l
        word
        echo 'WORD = \"new\"' > package/inner/part.py; touch -d @1700000001 package/inner/part.py
        word; python3 -m compileall -q package; word";
    same_as_tmpfs(|root| {
        let said = sh(root, script);
        assert_eq!(said, "3\nold\n3\nnew\n2\nnew\n3\n");
        said
    });
}
