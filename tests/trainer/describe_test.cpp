#include "trainer/format/describe.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <gmock/gmock.h>

#include <vector>

#include "quant/codec/wire_header.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/checkpoint.h"
#include "trainer/format/safetensors.h"

namespace thinwire::trainer {
namespace {

using nlohmann::json;
using test::message_of;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::HasSubstr;

void save(const std::string& run, std::int64_t step, int worker) {
  State state;
  state.tensors["theta"] = at::ones({2, 3});
  state.meta["epoch"] = 1;
  ASSERT_TRUE(CheckpointStore(run, worker, 5).save(step, state, nullptr));
}

TEST(Describe, ASafetensorsFileIsItsTensorsInOrder) {
  TemporaryFolder folder;
  const std::string path = folder / "model";
  write_safetensors(path,
                    {{{"a", at::ones({2, 3}, at::kBFloat16)}, {"b", at::scalar_tensor(1.0)}}, {{"k", "v"}}});
  const json found = describe(path);
  EXPECT_EQ(found["kind"], "safetensors");
  EXPECT_EQ(found["path"], path);
  EXPECT_EQ(found["bytes"], std::filesystem::file_size(path));
  EXPECT_EQ(found["values"], 7);
  EXPECT_EQ(found["metadata"], json({{"k", "v"}}));
  EXPECT_EQ(found["tensors"], json::parse(R"([{"name": "b", "dtype": "F32", "shape": [], "bytes": 4},
                            {"name": "a", "dtype": "BF16", "shape": [2, 3], "bytes": 12}])"));
}

TEST(Describe, ACheckpointIsItsMetaFilesAndTensors) {
  TemporaryFolder run;
  save(run.path(), 10, 2);
  const std::string path = run / "checkpoints/step-10/worker-2";
  json found = describe(path);
  EXPECT_EQ(found["kind"], "checkpoint");
  EXPECT_EQ(found["step"], 10);
  EXPECT_EQ(found["worker"], 2);
  EXPECT_EQ(found["whole"], true);
  EXPECT_EQ(found["meta"]["epoch"], 1);
  EXPECT_EQ(found["tensors"][0]["name"], "theta");
  EXPECT_EQ(found["files"]["state.safetensors"]["bytes"],
            std::filesystem::file_size(path + "/state.safetensors"));

  write_bytes(path + "/state.safetensors", "");
  found = describe(path);
  EXPECT_EQ(found["whole"], false);
  EXPECT_TRUE(found["tensors"].empty());
}

TEST(Describe, AStepIsItsWorkers) {
  TemporaryFolder run;
  for (const int worker : {0, 2, 10}) save(run.path(), 10, worker);
  std::filesystem::create_directory(run / "checkpoints/step-10/worker-1.tmp");
  const json found = describe(run / "checkpoints/step-10");
  EXPECT_EQ(found["kind"], "step");
  EXPECT_EQ(found["step"], 10);
  ASSERT_EQ(found["workers"].size(), 3u);
  EXPECT_EQ(found["workers"][2]["worker"], 10);
}

TEST(Describe, ARunIsItsConfigLastStepSummaryAndCheckpoints) {
  TemporaryFolder run;
  write_bytes(run / "config.toml", "[run]\nseed = 1\n");
  json found = describe(run.path());
  EXPECT_EQ(found["kind"], "run");
  EXPECT_EQ(found["config"], "[run]\nseed = 1\n");
  EXPECT_TRUE(found["last_step"].is_null());
  EXPECT_TRUE(found["summary"].is_null());

  save(run.path(), 10, 0);
  write_bytes(run / "metrics.jsonl", "{\"step\":10}\n{\"step\":20}\n{\"step\":30");
  write_bytes(run / "summary.json", "{\"steps\": 20}");
  found = describe(run.path());
  EXPECT_EQ(found["last_step"], 20);
  EXPECT_EQ(found["summary"]["steps"], 20);
  ASSERT_EQ(found["checkpoints"].size(), 1u);
  EXPECT_EQ(found["checkpoints"][0]["whole"], true);

  write_bytes(run / "checkpoints/step-10/worker-0/state.safetensors", "");
  found = describe(run.path());
  EXPECT_EQ(found["checkpoints"][0]["whole"], false);
  EXPECT_THAT(found["checkpoints"][0]["problems"][0]["file"].get<std::string>(),
              HasSubstr("state.safetensors"));
}

TEST(Describe, AWireMessageIsItsHeader) {
  TemporaryFolder folder;
  const auto codec =
      quant::make_codec({.name = "e3m0", .block = 64, .rounding = quant::Rounding::kStochastic});
  quant::WireInfo info = quant::wire_info(*codec, 100);
  info.step = 30;
  info.fragment = 2;
  info.worker = 1;
  info.state_digest = 0xabc;
  std::vector<std::byte> message(quant::kWireHeaderBytes + info.payload_bytes);
  quant::write_header(info, std::span(message).subspan(quant::kWireHeaderBytes),
                      std::span(message).first<quant::kWireHeaderBytes>());
  const std::string bytes(reinterpret_cast<const char*>(message.data()), message.size());
  write_bytes(folder / "message", bytes);
  const json found = describe(folder / "message");
  EXPECT_EQ(found["kind"], "wire message");
  EXPECT_EQ(found["codec"], "e3m0");
  EXPECT_EQ(found["block"], 64);
  EXPECT_EQ(found["rounding"], "stochastic");
  EXPECT_EQ(found["rotated"], false);
  EXPECT_EQ(found["k"], 0);
  EXPECT_EQ(found["values"], 100);
  EXPECT_EQ(found["step"], 30);
  EXPECT_EQ(found["fragment"], 2);
  EXPECT_EQ(found["worker"], 1);
  EXPECT_EQ(found["state_digest"], "0000000000000abc");

  std::string flipped = bytes;
  flipped.back() ^= 1;
  write_bytes(folder / "message", flipped);
  EXPECT_THAT(message_of([&] { describe(folder / "message"); }), HasSubstr("checksum"));
  write_bytes(folder / "message", "TWPL");
  EXPECT_THAT(message_of([&] { describe(folder / "message"); }), HasSubstr("length"));
}

TEST(Describe, WhatIsNotOursIsRefusedWithAReason) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([&] { describe(folder.path()); }), HasSubstr("found none"));
  EXPECT_THAT(message_of([&] { describe(folder / "none"); }), HasSubstr("No such file"));
  write_bytes(folder / "text", "just some text, longer than a header's length");
  EXPECT_THAT(message_of([&] { describe(folder / "text"); }), HasSubstr(folder / "text"));
  write_bytes(folder / "manifest.json", "{}");
  EXPECT_THAT(message_of([&] { describe(folder.path()); }), HasSubstr("manifest"));
}

}  // namespace
}  // namespace thinwire::trainer
