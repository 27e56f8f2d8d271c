#include "comm/backend/mpi/mpi_allreduce.h"

#include "comm/backend/mpi/mpi_check.h"

namespace thinwire::comm {

namespace {

class Allreduce final : public MpiAllreduce {
 public:
  explicit Allreduce(std::span<float> values) : values_(values) {}

  // On MPI's own world: the engine's messages are on another communicator.
  bool advance(Communicator&, std::uint64_t) override {
    THINWIRE_MPI_CHECK(MPI_Barrier(MPI_COMM_WORLD));
    const auto start = Clock::now();
    THINWIRE_MPI_CHECK(MPI_Allreduce(MPI_IN_PLACE, values_.data(), static_cast<int>(values_.size()),
                                     MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
    seconds_ = seconds_of(Clock::now() - start);
    return true;
  }
  double seconds() const override { return seconds_; }

 private:
  const std::span<float> values_;
  double seconds_ = 0;
};

}  // namespace

std::shared_ptr<MpiAllreduce> MpiAllreduce::make(std::span<float> values) {
  return std::make_shared<Allreduce>(values);
}

}  // namespace thinwire::comm
