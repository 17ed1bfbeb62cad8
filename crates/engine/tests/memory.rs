//! Alone in its process: what other tests allocate and free would be measured too.
#![cfg(target_os = "linux")]

use cllm_engine::system::memory::resident;

#[test]
fn this_process_grows() {
    let before = resident().unwrap();
    let block = std::hint::black_box(vec![1u8; 64 << 20]);
    let after = resident().unwrap();
    assert!(after.current >= before.current + (60 << 20), "{before:?} {after:?}");
    assert!(after.peak >= after.current, "{after:?}");
    assert_eq!(block[12345], 1);
}
