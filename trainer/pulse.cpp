#include "trainer/pulse.h"

#include <span>
#include <utility>

namespace thinwire::trainer {
namespace {

constexpr std::size_t kMaxPulseBytes = 64 * 1024;

comm::Buffer to_buffer(const nlohmann::json& record) {
  const std::vector<std::uint8_t> packed = nlohmann::json::to_msgpack(record);
  const auto bytes = std::as_bytes(std::span(packed));
  return {bytes.begin(), bytes.end()};
}

nlohmann::json from_buffer(const comm::Buffer& buffer) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(buffer.data());
  return nlohmann::json::from_msgpack(begin, begin + buffer.size());
}

}  // namespace

class PulseBoard::Gather final : public comm::Operation {
 public:
  explicit Gather(comm::Buffer mine) : mine_(std::move(mine)) {}

  bool advance(comm::Communicator& communicator, std::uint64_t id) override {
    if (!work_) {
      const std::vector<std::span<const std::byte>> outgoing(static_cast<std::size_t>(communicator.size()),
                                                             mine_);
      work_ = communicator.exchange({.sequence = comm::exchange_sequence(id, 0),
                                     .outgoing = outgoing,
                                     .max_bytes = kMaxPulseBytes,
                                     .traffic = comm::Traffic::kControl,
                                     .what = "the workers' records"});
    }
    if (!work_->test()) return false;
    records_ = work_->take();
    return true;
  }
  std::optional<comm::Clock::time_point> next_event() const override {
    return work_ ? work_->next_event() : std::nullopt;
  }

  const std::vector<comm::Buffer>& records() const { return records_; }

 private:
  const comm::Buffer mine_;
  std::unique_ptr<comm::Work> work_;
  std::vector<comm::Buffer> records_;
};

void PulseBoard::post(const nlohmann::json& mine) {
  gather_ = std::make_shared<Gather>(to_buffer(mine));
  ticket_ = engine_.submit(gather_);
}

std::vector<nlohmann::json> PulseBoard::read() {
  ticket_.wait();
  std::vector<nlohmann::json> records;
  for (const comm::Buffer& buffer : gather_->records()) records.push_back(from_buffer(buffer));
  gather_.reset();
  return records;
}

}  // namespace thinwire::trainer
