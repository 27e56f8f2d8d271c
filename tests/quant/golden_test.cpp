// The bytes of every format, pinned, and what they decode to. A change here is a change of the wire: raise
// kWireVersion and say so in docs/wire_format.md.
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "tests/quant/codec_case.h"
#include "tests/quant/hex.h"

namespace thinwire::quant {
namespace {

constexpr std::size_t kBlock = 32;
constexpr std::uint64_t kKey = 0x0123456789abcdef;
constexpr std::size_t kTopk = 1024;  // of topk's one chunk of 70 values 18 are kept

// Two blocks and six values, exact in float32: a linear congruential generator over five binades, then a
// half, zeros of both signs, infinity and a value that ties.
std::vector<float> golden_values() {
  std::vector<float> values;
  std::uint32_t state = 1;
  for (int i = 0; i < 70; ++i) {
    state = state * 1664525u + 1013904223u;
    const auto integer = static_cast<std::int32_t>(state >> 8) - (1 << 23);
    values.push_back(std::ldexp(static_cast<float>(integer), static_cast<int>(state >> 3 & 3) - 23));
  }
  values[3] = 0.0f;
  values[40] = -0.0f;
  values[66] = INFINITY;
  values[67] = -0x1p99f;
  return values;
}

// Payloads of golden_values in hexadecimal, and XXH3_64bits of decoded values, of their float32 bits in
// memory order: a decoder can be checked against these alone.
struct Golden {
  const char* codec;
  const char* nearest;
  const char* stochastic;
  std::uint64_t of_nearest;
  std::uint64_t of_stochastic;
  std::uint64_t of_rotated;     // of the bytes of `nearest`, decoded as rotated blocks of 32; topk: 0
  std::uint64_t of_every_byte;  // of every_byte(codec)
};

constexpr std::array kGolden = {
    Golden{"fp32",
           "4eef86bfecdd05c080008b3d00000000261f66bffc9c05c0baad0c40f025663e348e77c080968e3ec089ffbe68f89ebe"
           "c8bbb93e90822c3f22a487c07031764030c6b840904731bf34fc3a3f40db803e0e7011c07e7acabf84e15bbf587739c0"
           "e2883dbf6438d43fb0c0293f102bf7bfc4bd72c094760040d484dc3f563c25bf50d429bf6e6bf740982de4bf10cdc43d"
           "60c28abd0a1afd4026064040607b583f000000802e32733f60a930bf48ca02bfe4a13e3fe0432cbf8093ffbd56f726c0"
           "98a6bc3fae60be3f006d2dbfda2c76c01cf26640e6ce89bfb8be293f2abdf2c010db6dbed01068c0082f9ebf3edbbcc0"
           "6e889e4030ab3cbf8a93b4bfd049633e9cab963ff4dddd400000807f000000f12cb97e3fb28c9b40",
           "4eef86bfecdd05c080008b3d00000000261f66bffc9c05c0baad0c40f025663e348e77c080968e3ec089ffbe68f89ebe"
           "c8bbb93e90822c3f22a487c07031764030c6b840904731bf34fc3a3f40db803e0e7011c07e7acabf84e15bbf587739c0"
           "e2883dbf6438d43fb0c0293f102bf7bfc4bd72c094760040d484dc3f563c25bf50d429bf6e6bf740982de4bf10cdc43d"
           "60c28abd0a1afd4026064040607b583f000000802e32733f60a930bf48ca02bfe4a13e3fe0432cbf8093ffbd56f726c0"
           "98a6bc3fae60be3f006d2dbfda2c76c01cf26640e6ce89bfb8be293f2abdf2c010db6dbed01068c0082f9ebf3edbbcc0"
           "6e889e4030ab3cbf8a93b4bfd049633e9cab963ff4dddd400000807f000000f12cb97e3fb28c9b40",
           0x6acf03f9d2fc06df, 0x6acf03f9d2fc06df, 0xc7877ce6cecf8fef, 0xf875f2fa2e99df80},
    Golden{"bf16",
           "87bf06c08b3d000066bf06c00d40663e78c08f3e00bf9fbeba3e2d3f88c07640b94031bf3b3f813e11c0cabf5cbf39c0"
           "3ebfd43f2a3ff7bf73c00040dd3f25bf2abff740e4bfc53d8bbdfd404040583f0080733f31bf03bf3f3f2cbf00be27c0"
           "bd3fbe3f2dbf76c067408abf2a3ff3c06ebe68c09ebfbdc09f403dbfb5bf633e973fde40807f00f17f3f9c40",
           "87bf06c08b3d000066bf06c00d40663e77c08f3e00bf9fbeba3e2d3f88c07640b94031bf3b3f813e11c0cbbf5cbf39c0"
           "3dbfd43f2a3ff7bf73c00140dd3f25bf2abff740e4bfc53d8abdfd404040583f0080733f30bf03bf3f3f2cbf00be27c0"
           "bc3fbf3f2dbf76c0674089bf2a3ff2c06ebe68c09fbfbcc09e403cbfb5bf633e973fde40807f00f17f3f9c40",
           0x98f6ed3310d2d0ca, 0x7045b3778c56fe01, 0xa6f32ec08575104b, 0x44b2ea2de6fb2fda},
    Golden{"e4m3",
           "002c533c00a2903c004a126deaf24b00e9f27359f95be2dc5e65fa797ee5665af3efe8f6e67065f1f97270e5e17eed4b"
           "c77e73640065e2de63e2cef16a6be2f675e761fdd5f5e9fa79e2ea5500007ef60000",
           "002c533c00a2903c004a126deaf24a00e9f27359fa5be2dc5e65fa797ee66659f3efe8f6e67065f1f97170e5e17eed4b"
           "c87e73640065e2de62e2cef26b6ae2f674e862fed5f5e8fb79e3ea5500007ef60000",
           0xcf57d7342a81ddb5, 0x62819a34bb58fda3, 0x1042229706b8b0ed, 0xb0b10371173c5fce},
    Golden{"e5m2",
           "002cd33800a21039004a9269f1f56100f0f57568f969edea6b6ff9797bef6f69f6f4f0f7ef746ef5f97574eeed7bf261"
           "e07b756e006fedeb6dede3f57171edf776f06dfbe7f6f0f978edf16600007bf70000",
           "002cd33800a21039004a9269f1f56100f1f57569f969edea6b6ef9797bef6f69f6f3f0f7ef746ef4f87574efec7bf361"
           "e07b756e006fedeb6dede3f57171edf776f06dfbe7f6f0fa79eef16700007bf70000",
           0xf595130e742d833a, 0x797c79fa4bc651b5, 0x9b354a21ae8453ab, 0x69fff035c15ee313},
    Golden{"int8",
           "003b3a3d00197f3d0003016ee9d20100ecd23005ab06f5f9080fa3557ff11006ceddedc0f0240fd6ad2c26f2f57ce302"
           "ff7f300e000ff5f80cf5fed61818f5c23aef0b86fcc6eca150f4e90400007fc10000",
           "003b3a3d00197f3d0003016ee9d20200ecd23005ab06f5f9080fa3557ff01006cedeedc0f0240fd6ad2c26f1f57de301"
           "ff7f300e000ff5f80cf5fed61718f5c23aee0b86fcc6eca14ff4ea0300007fc10000",
           0xfcabb207f0e7deb4, 0xa50a0d3e184fd353, 0xc3398a865da3739d, 0x90a86ca6ca04a157},
    Golden{"int4",
           "002c533f00a2903f004a1270df00df030b0f105bf701edcf2fe12bf27f0e7013100ff1e011dff391d0bff40f00d700",
           "002c533f00a2903f004a1270ef00df020b0f115bf711edcf2fe13cf27f0e7012100ff1d021cff490d0aff40f00d700",
           0x6a178907069d75d5, 0x588c6ad63d9045c0, 0xa1d2b3934ea6fcc6, 0x1f242d8101cbb3bd},
    Golden{"int2", "0025813f0030c93f007451700b1bf2600dbec3c23707f0fcb08dbb3d9000",
           "005ef63f00bd284000abaa703f0f3f63f1fff302c704cfc3ccc0fc31930c", 0xb4f7d208962cb310,
           0x6f5502c5fc2c392d, 0xa9bcc4bbce2b5409, 0x64f668dc080c31cc},
    Golden{"nf4",
           "30c6b8400a1afd40000080713577357b816688e16f894325a648b16bf675f78b8766684799266c0837156d75772f77",
           "30c6b8400a1afd40000080713577368b717687e16f784325b638b16af675f78b876668479a366c1827156e85772f77",
           0x9ba9027e45393c62, 0x2a3b9084bcd02b98, 0x242ec9f3666ead78, 0x9a2c6966cb11b824},
    Golden{"e2m1",
           "005e763f00bda83f00ab2a70ca00ca041e99116e9712bcda3ac14e94790b7014109991c022d9a5f1d0ea960a00d700",
           "005e763f00bda83f00ab2a70ca00ca140e99106ea701bdda4ac14ea3790b7914100991c022d9a4f1d0fa961a00d700",
           0xcc834878555da44a, 0x1b83bf263ed61383, 0x3b94487d89ee7ea6, 0xc28866bd7f01e16a},
    Golden{"e3m0",
           "30c6b83d0a1afd3d0000806edc01dc263ebb436ec724deec5cd45ec57b1d794640bbb4d954ebc6f3eaecb62c00e700",
           "30c6b83d0a1afd3d0000806edc00dc352fbb436ec724deec6cd45ec57b1d794640bcc3e945ecd5f3eafcc72c00e700",
           0x928749a0ce3692ae, 0x9cccab31188e958c, 0x872bb36f6f8e36d1, 0x8327f192b6d958e4},
    Golden{"ternary", "00c6384000e4984000004071ea6290001b0249511336003613400306",
           "30c6b8400a1afd4000008071ef0b09001b02365101a2000001000306", 0x08d214c0538b460e, 0xa74c138654380985,
           0xa5ebd4bebc3d61a0, 0x9521a314659f9915},
    Golden{"sign", "00b0cb3f0047064000008070334df29915edac6f08", "30c6b8400a1afd400000807127776c7d091b124629",
           0x930de2afe24fe7cf, 0xdfa778774d63d9b8, 0x617726a0ba9bd781, 0xa185a10c00305088},
    Golden{"topk", "a340407108e0000f00011c10022560023340033790033bc0034120044350040a02a24203",
           "4040807108e0000f00011c10022560023340033790033bc0034120044350040a02a24202", 0x678bdda69670f3c9,
           0x68c9f672d804bb75, 0, 0xf9950983219127b9},
};

class GoldenVector : public ::testing::TestWithParam<Golden> {};
INSTANTIATE_TEST_SUITE_P(Codecs, GoldenVector, ::testing::ValuesIn(kGolden),
                         [](const auto& golden) { return std::string(golden.param.codec); });

std::string hex_of(std::uint64_t hash) {
  std::array<char, 20> text{};
  std::snprintf(text.data(), text.size(), "%#018llx", static_cast<unsigned long long>(hash));
  return text.data();
}

std::string code_of(const std::string& name, Rounding rounding) {
  const auto codec = make_codec({.name = name, .block = kBlock, .rounding = rounding, .k = kTopk});
  return testing::to_hex(testing::encode(*codec, golden_values(), kKey));
}

TEST_P(GoldenVector, PinsTheBytesToNearest) {
  EXPECT_EQ(code_of(GetParam().codec, Rounding::kNearest), GetParam().nearest);
}

TEST_P(GoldenVector, PinsTheBytesRoundedStochastically) {
  EXPECT_EQ(code_of(GetParam().codec, Rounding::kStochastic), GetParam().stochastic);
}

std::string hash_of_decoded(const CodecOptions& options, std::span<const std::byte> code, std::size_t n) {
  const std::vector<float> values = testing::decode(*make_codec(options), code, n);
  return hex_of(XXH3_64bits(values.data(), n * sizeof(float)));
}

TEST_P(GoldenVector, PinsWhatThePayloadsDecodeTo) {
  const Golden& golden = GetParam();
  const CodecOptions plain = {.name = golden.codec, .block = kBlock, .k = kTopk};
  const std::size_t n = golden_values().size();
  EXPECT_EQ(hash_of_decoded(plain, testing::from_hex(golden.nearest), n), hex_of(golden.of_nearest));
  EXPECT_EQ(hash_of_decoded(plain, testing::from_hex(golden.stochastic), n), hex_of(golden.of_stochastic));
  if (plain.name == "topk") return;
  const CodecOptions rotated = {.name = golden.codec, .block = kBlock, .rotate = true};
  EXPECT_EQ(hash_of_decoded(rotated, testing::from_hex(golden.nearest), n), hex_of(golden.of_rotated));
}

// One block of 1280 values (topk: a chunk of 4096) under the scale 1.5 (levels 1 and 2): byte i of the codes
// is i mod 256, so that all codes occur, those that no encoder sends as well. Formats without a scale: no
// scale.
std::vector<std::byte> every_byte(const Codec& codec, std::size_t n) {
  std::vector<std::byte> code(codec.encoded_bytes(n));
  const bool scaled = codec.name() != "fp32" && codec.name() != "bf16";
  const std::uint32_t head = is_sparse(codec) ? 0x40003f80 : 0x3fc00000;
  if (scaled) std::memcpy(code.data(), &head, sizeof head);
  const std::size_t first = scaled ? 4 : 0;
  for (std::size_t i = first; i < code.size(); ++i) code[i] = static_cast<std::byte>(i - first);
  return code;
}

TEST_P(GoldenVector, PinsWhatEveryByteDecodesTo) {
  const CodecOptions options = {.name = GetParam().codec, .block = 1280, .k = kTopk};
  const auto codec = make_codec(options);
  const std::size_t n = is_sparse(*codec) ? kTopkChunk : 1280;
  EXPECT_EQ(hash_of_decoded(options, every_byte(*codec, n), n), hex_of(GetParam().of_every_byte));
}

TEST(GoldenVectors, CoverEveryCodec) {
  std::vector<std::string> covered;
  for (const Golden& golden : kGolden) covered.emplace_back(golden.codec);
  EXPECT_EQ(covered, codec_names());
}

TEST(GoldenVectors, PinTheStreamKey) {
  EXPECT_EQ(stream_key({.seed = 1, .step = 2, .worker = 3, .fragment = 4, .leg = 5}), 0x90bb69b7166551deu);
}

}  // namespace
}  // namespace thinwire::quant
