#include "tests/comm/fake_nccl.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include "comm/transport.h"

namespace thinwire::comm {

// One pair as both its ranks see it.
struct FakeNcclNetwork::Wire {
  std::mutex mutex;
  int num_joined = 0;
  std::optional<Buffer> under_way;  // a send that no receive has met
  std::uint64_t num_met = 0;
  bool broken = false;
};

namespace {

constexpr int kBusyLooks = 2;  // after each call

struct FakeSlot final : NcclSlot {
  FakeSlot(std::size_t num_bytes, std::atomic<int>& num_alive, const std::size_t& under_way,
           std::atomic<int>& num_waiting)
      : host_bytes(num_bytes),
        device_bytes(num_bytes),
        alive(num_alive),
        steps_under_way(under_way),
        waiting_frees(num_waiting) {
    ++alive;
  }
  ~FakeSlot() override {
    --alive;
    if (steps_under_way > 0) ++waiting_frees;
  }
  std::span<std::byte> host() override { return host_bytes; }
  bool is_done() override {
    run_stream();
    return num_marks_done == num_marks;
  }

  Buffer host_bytes;
  Buffer device_bytes;
  int num_marks = 0;
  int num_marks_done = 0;
  std::function<void()> run_stream = [] {};  // of the pair that marked it last
  std::atomic<int>& alive;
  const std::size_t& steps_under_way;  // of the rank
  std::atomic<int>& waiting_frees;
};

class FakePair final : public NcclPair {
 public:
  FakePair(std::shared_ptr<FakeNcclNetwork::Wire> wire, FakeNcclFaults faults, int& num_sends,
           std::size_t& under_way, std::atomic<int>& num_alive)
      : wire_(std::move(wire)),
        faults_(faults),
        num_sends_(num_sends),
        steps_under_way_(under_way),
        alive_(num_alive) {
    const std::scoped_lock lock(wire_->mutex);
    ++wire_->num_joined;
    ++alive_;
  }
  ~FakePair() override {
    --alive_;
    steps_under_way_ -= stream_.size();
  }

  bool is_ready() override {
    run();
    if (wire_broken()) throw NcclError("fake NCCL: the pair is broken: ncclRemoteError");
    if (num_joined() < 2 || faults_.never_joins) return false;
    if (busy_ > 0) --busy_;
    return busy_ == 0;
  }
  void copy_to_device(NcclSlot& slot, std::size_t num_bytes) override {
    enqueue([&own = cast(slot), num_bytes] {
      std::copy_n(own.host_bytes.begin(), num_bytes, own.device_bytes.begin());
      return true;
    });
  }
  void copy_to_host(NcclSlot& slot, std::size_t num_bytes) override {
    enqueue([&own = cast(slot), num_bytes] {
      std::copy_n(own.device_bytes.begin(), num_bytes, own.host_bytes.begin());
      return true;
    });
  }
  void send(NcclSlot& slot, std::size_t num_bytes) override {
    if (num_sends_++ == faults_.fail_at_send) break_wire();
    enqueue([this, &own = cast(slot), size = num_bytes - (faults_.resizes_sends ? 1 : 0),
             number = std::optional<std::uint64_t>()]() mutable { return run_send(own, size, number); });
    busy_ = kBusyLooks;
  }
  void receive(NcclSlot& slot, std::size_t num_bytes) override {
    enqueue([this, &own = cast(slot), num_bytes] { return run_receive(own, num_bytes); });
    busy_ = kBusyLooks;
  }
  void mark(NcclSlot& slot) override {
    FakeSlot& own = cast(slot);
    ++own.num_marks;
    own.run_stream = [this] { run(); };
    enqueue([&own] {
      ++own.num_marks_done;
      return true;
    });
  }

 private:
  using Step = std::function<bool()>;  // false: not yet

  static FakeSlot& cast(NcclSlot& slot) { return static_cast<FakeSlot&>(slot); }

  void enqueue(Step step) {
    if (busy_ > 0 || num_joined() < 2) throw std::logic_error("fake NCCL: a call on a busy pair");
    stream_.push_back(std::move(step));
    ++steps_under_way_;
  }
  void run() {
    while (!stream_.empty() && stream_.front()()) {
      stream_.pop_front();
      --steps_under_way_;
    }
  }
  bool run_send(const FakeSlot& slot, std::size_t num_bytes, std::optional<std::uint64_t>& number) {
    const std::scoped_lock lock(wire_->mutex);
    if (wire_->broken) return false;
    if (!number) {
      number = wire_->num_met;
      wire_->under_way.emplace(slot.device_bytes.begin(),
                               slot.device_bytes.begin() + static_cast<std::ptrdiff_t>(num_bytes));
    }
    return wire_->num_met > *number;
  }
  bool run_receive(FakeSlot& slot, std::size_t num_bytes) {
    const std::scoped_lock lock(wire_->mutex);
    if (wire_->broken || !wire_->under_way) return false;
    wire_->broken = wire_->under_way->size() != num_bytes;
    if (wire_->broken) return false;
    std::copy(wire_->under_way->begin(), wire_->under_way->end(), slot.device_bytes.begin());
    wire_->under_way.reset();
    ++wire_->num_met;
    return true;
  }
  int num_joined() const {
    const std::scoped_lock lock(wire_->mutex);
    return wire_->num_joined;
  }
  bool wire_broken() const {
    const std::scoped_lock lock(wire_->mutex);
    return wire_->broken;
  }
  void break_wire() {
    const std::scoped_lock lock(wire_->mutex);
    wire_->broken = true;
  }

  const std::shared_ptr<FakeNcclNetwork::Wire> wire_;  // shared by its two ranks
  const FakeNcclFaults faults_;
  int& num_sends_;  // of the rank, as the next; its NcclApi outlives its pairs
  std::size_t& steps_under_way_;
  std::atomic<int>& alive_;
  int busy_ = 0;
  std::deque<Step> stream_;
};

}  // namespace

class FakeNcclApi final : public NcclApi {
 public:
  FakeNcclApi(FakeNcclNetwork& network, FakeNcclFaults faults) : network_(network), faults_(faults) {}

  NcclId make_id() override {
    NcclId id{};
    const int number = network_.next_id_++;
    id[0] = static_cast<std::byte>(number);
    id[1] = static_cast<std::byte>(number >> 8);
    return id;
  }
  std::unique_ptr<NcclPair> join(const NcclId& id, bool sender) override {
    if (!sender && faults_.refuses_receives) throw NcclError("fake NCCL: join: ncclSystemError");
    return std::make_unique<FakePair>(network_.wire_of(id), faults_, num_sends_, steps_under_way_,
                                      network_.num_pairs_);
  }
  std::unique_ptr<NcclSlot> make_slot(std::size_t num_bytes) override {
    return std::make_unique<FakeSlot>(num_bytes, network_.num_slots_, steps_under_way_,
                                      network_.num_waiting_frees_);
  }

 private:
  FakeNcclNetwork& network_;  // the test's, which outlives its ranks
  const FakeNcclFaults faults_;
  int num_sends_ = 0;
  std::size_t steps_under_way_ = 0;
};

std::unique_ptr<NcclApi> FakeNcclNetwork::make_api(FakeNcclFaults faults) {
  return std::make_unique<FakeNcclApi>(*this, faults);
}

void FakeNcclNetwork::break_pairs() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [id, wire] : wires_) {
    const std::scoped_lock wire_lock(wire->mutex);
    wire->broken = true;
  }
}

std::shared_ptr<FakeNcclNetwork::Wire> FakeNcclNetwork::wire_of(const NcclId& id) {
  const std::scoped_lock lock(mutex_);
  auto& wire = wires_[id];
  if (!wire) wire = std::make_shared<Wire>();
  return wire;
}

}  // namespace thinwire::comm
