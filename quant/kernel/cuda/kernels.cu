// The kernels: which thread does what. What is done stands in block_kernels.h.
//
// Encode: a half warp a block, so that its 16 lanes are the 16 partial sums of the scale; values are read
// once from memory and again from the cache. Decode and commit: a thread a value.
#include <algorithm>
#include <array>

#include "quant/codec/int_rule.h"
#include "quant/codec/minifloat_rule.h"
#include "quant/codec/sign_rule.h"
#include "quant/kernel/cuda/cuda_check.h"
#include "quant/kernel/cuda/kernels.h"

namespace thinwire::quant::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kTeams = kThreads / kLanes;

struct HalfWarpTeam {
  unsigned lane;
  unsigned mask;  // the lanes of this team within the warp

  __device__ static HalfWarpTeam of_this_thread() {
    const unsigned in_warp = threadIdx.x % 32;
    return {in_warp % kLanes, 0xffffu << (in_warp / kLanes * kLanes)};
  }

  template <class PerLane>
  __device__ LaneSums reduce(PerLane per_lane) const {
    LaneSums sums = per_lane(lane);
    for (unsigned apart = kLanes / 2; apart > 0; apart /= 2) {
      sums = join(sums, {__shfl_down_sync(mask, sums.total, apart, kLanes),
                         __shfl_down_sync(mask, sums.largest, apart, kLanes),
                         __shfl_down_sync(mask, sums.num_high, apart, kLanes)});
    }
    // Every lane has read its values: the pass that follows may write over the residual they were made of.
    __syncwarp(mask);
    return {__shfl_sync(mask, sums.total, 0, kLanes), __shfl_sync(mask, sums.largest, 0, kLanes),
            __shfl_sync(mask, sums.num_high, 0, kLanes)};
  }

  template <class Call>
  __device__ void each(std::size_t count, Call call) const {
    for (std::size_t i = lane; i < count; i += kLanes) call(i);
  }
};

__device__ std::size_t thread_index() {
  return static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
}

template <class Rule, class Source, class Keep>
__device__ void encode_with(const EncodeJob& job, Source source, Keep keep) {
  const std::size_t b = thread_index() / kLanes;
  if (b >= job.layout.num_blocks()) return;
  const bool met_nan =
      encode_block<Rule>(HalfWarpTeam::of_this_thread(), job.layout, b, source, job.stream, job.code, keep);
  if (met_nan && job.nan_seen != nullptr) *job.nan_seen = 1;
}

template <class Rule>
__global__ void __launch_bounds__(kThreads) encode_kernel(const EncodeJob job) {
  encode_with<Rule>(job, Values{job.values}, KeepNothing{});
}

template <class Rule>
__global__ void __launch_bounds__(kThreads) encode_delta_kernel(const EncodeJob job) {
  encode_with<Rule>(job, job.delta, KeepResidual{job.residual});
}

template <class Rule>
__global__ void __launch_bounds__(kThreads) decode_kernel(const DecodeJob job) {
  const std::size_t i = thread_index();
  if (i >= job.layout.num_values) return;
  const float value = decoded<Rule>(job.layout, job.code, i);
  job.values[i] = job.add ? job.values[i] + value : value;
}

template <class Rule>
__global__ void __launch_bounds__(kThreads) commit_kernel(const CommitJob job) {
  const std::size_t i = thread_index();
  if (i >= job.layout.num_values) return;
  commit_value<Rule>(job.layout, job.payloads, job.num_payloads, job.rule, job.alpha, job.spans, i);
}

unsigned grid_of(std::size_t num_items, unsigned per_grid_block) {
  return static_cast<unsigned>((num_items + per_grid_block - 1) / per_grid_block);
}

struct FormatKernels {
  std::uint8_t wire_id;
  void (*encode)(EncodeJob);
  void (*encode_delta)(EncodeJob);
  void (*decode)(DecodeJob);
  void (*commit)(CommitJob);
};

template <class Rule>
constexpr FormatKernels kernels_of(std::uint8_t wire_id) {
  return {wire_id, &encode_kernel<Rule>, &encode_delta_kernel<Rule>, &decode_kernel<Rule>,
          &commit_kernel<Rule>};
}

const FormatKernels& find(std::uint8_t wire_id) {
  static const std::array kAll = {kernels_of<IntRule<8>>(5), kernels_of<IntRule<4>>(6),
                                  kernels_of<Int2Rule>(7), kernels_of<E3m0Rule>(10),
                                  kernels_of<SignRule>(12)};
  return *std::find_if(kAll.begin(), kAll.end(),
                       [&](const auto& format) { return format.wire_id == wire_id; });
}

template <class Job>
void launch(void (*kernel)(Job), Job job, unsigned grid, Stream stream) {
  kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream.handle)>>>(job);
  THINWIRE_CUDA_CHECK(cudaPeekAtLastError());
}

}  // namespace

void launch_encode(std::uint8_t wire_id, const EncodeJob& job, Stream stream) {
  const FormatKernels& format = find(wire_id);
  launch(job.values != nullptr ? format.encode : format.encode_delta, job,
         grid_of(job.layout.num_blocks(), kTeams), stream);
}

void launch_decode(std::uint8_t wire_id, const DecodeJob& job, Stream stream) {
  launch(find(wire_id).decode, job, grid_of(job.layout.num_values, kThreads), stream);
}

void launch_commit(std::uint8_t wire_id, const CommitJob& job, Stream stream) {
  launch(find(wire_id).commit, job, grid_of(job.layout.num_values, kThreads), stream);
}

}  // namespace thinwire::quant::cuda
