// NCCL without a GPU, for ranks that are threads of one process: sends and receives meet as NCCL's do, and
// calls that NCCL would not forgive are errors here.
//
// * A stream runs in order, and only when somebody looks: what is copied too early or too late comes out
// wrong.
// * A send is done when a receive of exactly its size has met it; another size breaks the pair.
// * After each call a pair is busy for a while, and takes no other call meanwhile.
// * A rank that left is not noticed: what waits for it waits for ever.
// * A slot that is freed while its rank has work under way would wait for that work; here it is counted.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "comm/backend/nccl/nccl_api.h"

namespace thinwire::comm {

// What happens to one rank's calls.
struct FakeNcclFaults {
  int fail_at_send = -1;          // the send of this number (from 0) breaks its pair, on this rank
  bool never_joins = false;       // its pairs stay busy
  bool resizes_sends = false;     // sends one byte less than asked for
  bool refuses_receives = false;  // joins no pair that it would receive from
};

// What all ranks of a world share.
class FakeNcclNetwork {
 public:
  std::unique_ptr<NcclApi> make_api(FakeNcclFaults faults = {});
  // As NCCL finds out that a rank died: every pair is broken.
  void break_pairs();
  // That are alive, over all ranks.
  int num_pairs() const { return num_pairs_; }
  int num_slots() const { return num_slots_; }
  // Slots, over all ranks, whose end would have waited.
  int num_waiting_frees() const { return num_waiting_frees_; }

  struct Wire;

 private:
  friend class FakeNcclApi;
  std::shared_ptr<Wire> wire_of(const NcclId& id);

  std::mutex mutex_;
  std::map<NcclId, std::shared_ptr<Wire>> wires_;
  std::atomic<int> next_id_ = 1;  // counts, orders nothing
  std::atomic<int> num_pairs_ = 0;
  std::atomic<int> num_slots_ = 0;
  std::atomic<int> num_waiting_frees_ = 0;
};

}  // namespace thinwire::comm
