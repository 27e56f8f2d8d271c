#include "trainer/format/manifest.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

using nlohmann::json;
using test::message_of;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Manifest sample() {
  Manifest manifest{100, 3, {{"state.safetensors", {4328, xxh3_128_hex("tensors")}}}, {}, {}};
  manifest.tensors = {{"live/w", {"F32", {3, 4}}}, {"steps", {"I64", {}}}};
  manifest.meta = {{"loss", 0.1}, {"text", "\xc3\xa4\n\""}, {"data", {{"position", 42}}}};
  return manifest;
}

TEST(Manifest, ComesBackWithExactNumbers) {
  Manifest manifest = sample();
  json& exact = manifest.meta["exact"];
  exact = {5e-324,
           -0.0,
           1e300,
           3.0,
           std::numeric_limits<std::int64_t>::min(),
           std::numeric_limits<std::uint64_t>::max(),
           (std::uint64_t{1} << 53) + 1};
  std::mt19937_64 random(1);
  std::vector<double> doubles;
  while (doubles.size() < 1000) {
    const std::uint64_t bits = random();
    double value;
    std::memcpy(&value, &bits, sizeof value);
    if (std::isfinite(value)) doubles.push_back(value);
  }
  manifest.meta["doubles"] = doubles;

  const Manifest back = parse_manifest(to_text(manifest));
  EXPECT_EQ(back.step, 100);
  EXPECT_EQ(back.worker, 3);
  EXPECT_EQ(back.files, manifest.files);
  EXPECT_EQ(back.tensors, manifest.tensors);
  EXPECT_EQ(back.meta, manifest.meta);
  EXPECT_TRUE(std::signbit(back.meta["exact"][1].get<double>()));
  EXPECT_TRUE(back.meta["exact"][3].is_number_float());
  const auto doubles_back = back.meta["doubles"].get<std::vector<double>>();
  EXPECT_EQ(std::memcmp(doubles_back.data(), doubles.data(), doubles.size() * sizeof(double)), 0);
}

TEST(Manifest, NumbersThatJsonLacksComeBackToo) {
  Manifest manifest = sample();
  manifest.meta = {{"loss", std::nan("")}, {"bounds", {-kInfinity, kInfinity, {{"deep", kInfinity}}}}};
  const Manifest back = parse_manifest(to_text(manifest));
  EXPECT_TRUE(std::isnan(back.meta["loss"].get<double>()));
  EXPECT_EQ(back.meta["bounds"], manifest.meta["bounds"]);
}

TEST(Manifest, EveryChangedMissingOrExtraByteIsRefused) {
  const std::string text = to_text(sample());
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
      ASSERT_THROW(parse_manifest(changed), std::runtime_error) << changed;
    }
    ASSERT_THROW(parse_manifest(text.substr(0, i)), std::runtime_error) << i;
    ASSERT_THROW(parse_manifest(text.substr(0, i) + " " + text.substr(i)), std::runtime_error) << i;
  }
  ASSERT_THROW(parse_manifest(text + "\n"), std::runtime_error);
}

// A text with a good hash of its own, whatever it says.
std::string sealed(json root) {
  root.erase("manifest_xxh3_128");
  root["manifest_xxh3_128"] = xxh3_128_hex(root.dump(1) + "\n");
  return root.dump(1) + "\n";
}

TEST(Manifest, AnotherFormatOrVersionIsNamed) {
  json root = json::parse(to_text(sample()));
  EXPECT_EQ(parse_manifest(sealed(root)).step, 100);
  root["version"] = 1;
  EXPECT_THAT(message_of([&] { parse_manifest(sealed(root)); }), HasSubstr("version 2, found"));
  root["version"] = 2;
  root["format"] = "other";
  EXPECT_THAT(message_of([&] { parse_manifest(sealed(root)); }), HasSubstr("\"other\""));
}

TEST(Manifest, NamesThatLeadElsewhereAreRefused) {
  for (const char* name : {"../x", "/etc/passwd", "a/b", "..", ".", ""}) {
    Manifest manifest = sample();
    manifest.files[name] = {};
    EXPECT_THAT(message_of([&] { parse_manifest(to_text(manifest)); }), HasSubstr("plain names")) << name;
  }
}

TEST(Manifest, MembersOfAnotherTypeAreRefused) {
  for (const char* member : {"step", "worker", "files", "meta", "format", "version", "tensors"}) {
    json root = json::parse(to_text(sample()));
    root.erase(member);
    EXPECT_THROW(parse_manifest(sealed(root)), std::runtime_error) << member;
  }
  for (const char* member : {"step", "worker", "files", "tensors"}) {
    for (const json& value : {json("text"), json(nullptr), json::array({1})}) {
      json root = json::parse(to_text(sample()));
      root[member] = value;
      EXPECT_THROW(parse_manifest(sealed(root)), std::runtime_error) << member << " " << value;
    }
  }
  for (const char* text : {"", "{}", "[]", "null", "3", "{\"manifest_xxh3_128\":1}"}) {
    EXPECT_THROW(parse_manifest(text), std::runtime_error) << text;
  }
}

TEST(Manifest, TensorsOfNoKnownTypeOrShapeAreRefused) {
  const json root = json::parse(to_text(sample()));
  const auto parse_with = [&](const json& tensor) {
    json changed = root;
    changed["tensors"]["live/w"] = tensor;
    return parse_manifest(sealed(changed));
  };
  const auto message_with = [&](const json& tensor) { return message_of([&] { parse_with(tensor); }); };
  EXPECT_NO_THROW(parse_with({{"dtype", "F32"}, {"shape", {3}}}));
  EXPECT_THAT(message_with({{"dtype", "F31"}, {"shape", {3}}}), HasSubstr("unknown dtype 'F31'"));
  EXPECT_THAT(message_with({{"dtype", "F32"}, {"shape", 3}}), HasSubstr("'live/w': expected a list"));
  EXPECT_THAT(message_with({{"dtype", "F32"}, {"shape", {-3}}}), HasSubstr("found -3"));
  EXPECT_THAT(message_with({{"dtype", "F32"}}), HasSubstr("shape"));
  EXPECT_THAT(message_with({{"dtype", 32}, {"shape", {3}}}), HasSubstr("string"));
}

SafetensorsHeader header_of(const std::map<std::string, TensorSpec>& specs) {
  SafetensorsHeader header;
  for (const auto& [name, spec] : specs) header.entries.push_back({name, spec.dtype, spec.shape, 0, 0});
  return header;
}

TEST(Manifest, AFileOfOtherTensorsIsRefusedByTheirName) {
  const Manifest manifest = sample();
  const auto message_for = [&](std::map<std::string, TensorSpec> specs) {
    return message_of([&] { require_tensors(manifest, header_of(specs)); });
  };
  std::map<std::string, TensorSpec> specs = manifest.tensors;
  EXPECT_NO_THROW(require_tensors(manifest, header_of(specs)));
  specs["live/w"].dtype = "I32";
  EXPECT_THAT(message_for(specs),
              HasSubstr("'live/w': expected F32 [3, 4], as the manifest says, found I32"));
  specs["live/w"] = {"F32", {4, 3}};
  EXPECT_THAT(message_for(specs), HasSubstr("found F32 [4, 3]"));
  specs.erase("live/w");
  EXPECT_THAT(message_for(specs), HasSubstr("found no such tensor"));
  specs = manifest.tensors;
  specs["more"] = {"F32", {}};
  EXPECT_THAT(message_for(specs), HasSubstr("'more': found F32 []"));
}

TEST(Manifest, TextsThatAreNoUtf8AreRefusedAtWriting) {
  Manifest manifest = sample();
  manifest.meta["text"] = "\xff";
  EXPECT_THAT(message_of([&] { to_text(manifest); }), HasSubstr("UTF-8"));
}

}  // namespace
}  // namespace thinwire::trainer
