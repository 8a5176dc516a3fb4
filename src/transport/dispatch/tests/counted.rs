//! Requests are counted.

use super::*;

#[test]
fn a_request_is_counted_when_it_is_answered_and_failures_are_told_apart() {
    let mut offline = Offline::new(Cache::Forever);
    let slow = entry(&mut offline, (Lookup, ROOT, b"", b"slow\0")).nodeid;
    let shared = offline.shared;
    let handle = |opcode: Opcode, args: &[u8], may_block| {
        let node = if opcode == Read { slow } else { ROOT };
        let mut exchange = crate::transport::channel::exchange::Exchange {
            header: asked((opcode, node, b"", b"")).header,
            opcode: Some(opcode),
            args,
            buffer: &mut [0; 4096],
            sent: 0,
        };
        shared.handle(&mut exchange, may_block)
    };
    assert_eq!(handle(Getattr, &[0; 16], MayBlock::No), Answer::Bytes(104));
    assert_eq!(handle(Forget, &[0; 8], MayBlock::Yes), Answer::Nothing);
    assert_eq!(
        handle(Flush, &[0; 24], MayBlock::No),
        Answer::Error(Errno::NOSYS)
    );
    assert_eq!(
        handle(Setattr, &[0; 80], MayBlock::No),
        Answer::Error(Errno::INVAL)
    );
    let read = reading(0, 4);
    let later = handle(Read, bytes(&read), MayBlock::No);
    assert_eq!(later, Answer::Later);
    assert_eq!(shared.metrics.sum().count(RequestKind::Read), 0);
    assert_eq!(handle(Read, bytes(&read), MayBlock::Yes), Answer::Bytes(4));
    let sum = shared.metrics.sum();
    let errors = |kind| sum.iter().find(|stats| stats.kind == kind).unwrap().errors;
    assert_eq!((sum.total(), sum.count(RequestKind::Forget)), (4, 1));
    assert_eq!(errors(RequestKind::Flush), 0);
    assert_eq!(errors(RequestKind::Setattr), 1);
}
